// Package client counts for Cairn, in a service that must not notice.
//
//	c, err := client.New("http://127.0.0.1:8127")
//	signups := c.Counter("signups", client.Tag("env", "prod"))
//	signups.Inc()
//	defer c.Close(ctx)
//
// Increments add up in memory and leave once a second, as one line a series that carries
// its second: exact, and nothing is sampled. Over HTTP a batch counts exactly once, is sent
// again until the server has it, and with Spool outlives the process. Datagrams are sent
// once, and nobody knows whether they arrive.
//
// What a second is: counts are taken at the end of each, and belong to the one that ended.
// If the process is held up by then, so that they are taken late, what was counted since
// belongs to the last second before they are. Distributions and sets count when they arrive.
//
// Handles, and the Client, may be nil: they do nothing then. So a service whose
// metrics are switched off needs no conditions.
//
// # OpenTelemetry
//
// There is no exporter. A service that has OpenTelemetry instruments can register a reader
// (sdk/metric.NewManualReader, delta temporality), have Client.Collect call its Collect,
// and add each data point of a Sum to Client.Counter(name, tags...), with an attribute
// a tag. Whole sums are exact then; histograms are not observations any more, and
// should be counted with Distribution where they are measured.
package client
