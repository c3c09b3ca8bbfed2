// Package child starts what measurements run beside themselves, and sees that it
// ends: Cairn, VictoriaMetrics, and the load generator of ../shared/bench.
//
// A child is killed when its context ends, when its time is over, and when this
// process ends, however that comes. Linux only.
package child
