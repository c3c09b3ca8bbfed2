package client

import (
	"fmt"
	"time"
)

// Option changes what New makes.
type Option func(*options) error

type options struct {
	tags       []Pair
	interval   int64 // seconds
	buffer     int   // bytes
	spool      string
	spoolBytes int64
	low        []string
	series     int
	onError    func(error)
}

func defaults() options {
	return options{interval: 1, buffer: 16 << 20, spoolBytes: 256 << 20, series: 100_000, onError: func(error) {}}
}

// Tags are added to every series that has no tag of the same key.
func Tags(tags ...Pair) Option {
	return func(o *options) error {
		o.tags = append(o.tags, tags...)
		_, why := cleanTags(nil, o.tags)
		if why != "" {
			return fmt.Errorf("client: Tags: %s", why)
		}
		return nil
	}
}

// FlushInterval is how often is sent: whole seconds, 1 s by default. Counts are taken
// every second whatever it is, so that each keeps its second.
func FlushInterval(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Second || d > time.Minute || d%time.Second != 0 {
			return fmt.Errorf("client: FlushInterval %s: whole seconds from 1s to 1m are allowed", d)
		}
		o.interval = int64(d / time.Second)
		return nil
	}
}

// BufferSize is how many bytes may wait in memory to be sent, 16 MiB by default, and at
// least 64 KiB.
func BufferSize(bytes int) Option {
	return func(o *options) error {
		if bytes < 64<<10 {
			return fmt.Errorf("client: BufferSize %d: at least 65,536 bytes are needed", bytes)
		}
		o.buffer = bytes
		return nil
	}
}

// Spool keeps batches in a directory, which is made, until the server has them: what a
// process that was killed had written there is delivered by the next with the same
// directory, in order and once. One process at a time may use it. It is for http://
// addresses only, as nothing else tells what has arrived.
func Spool(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return fmt.Errorf("client: Spool: the directory has no name")
		}
		o.spool = dir
		return nil
	}
}

// SpoolSize is how many bytes the spool may take, 256 MiB by default, and at least 64 KiB.
// Beyond it the oldest batch is shed, and one of low priority first.
func SpoolSize(bytes int64) Option {
	return func(o *options) error {
		if bytes < 64<<10 {
			return fmt.Errorf("client: SpoolSize %d: at least 65,536 bytes are needed", bytes)
		}
		o.spoolBytes = bytes
		return nil
	}
}

// LowPriority names prefixes of metrics that are shed before others, here and by the
// server.
func LowPriority(prefixes ...string) Option {
	return func(o *options) error {
		o.low = append(o.low, prefixes...)
		return nil
	}
}

// MaxSeries is how many series Client.Count may make, 100,000 by default. What is counted
// under further ones is still sent, but with a line each call.
func MaxSeries(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("client: MaxSeries %d: it cannot be negative", n)
		}
		o.series = n
		return nil
	}
}

// OnError is called with what goes wrong after New. It may be called by several
// goroutines at once, and should return soon; it must not call the Client's Flush or Close.
func OnError(f func(error)) Option {
	return func(o *options) error {
		if f != nil {
			o.onError = f
		}
		return nil
	}
}
