// Package metric holds the vocabulary that every other package shares: kinds,
// tagsets, series, tiers, seconds, limits and the reasons for which an event
// is turned away.
//
// It holds no state, reads no clock and touches no disk. Everything in it is a
// value that can be compared, copied and used as a map key.
package metric
