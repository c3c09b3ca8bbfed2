package web

import "github.com/valyala/fasthttp"

// Quality is what GET /api/quality tells: whether every event is accounted for, and
// how far what came has got. docs/metrics.md says what each field means.
type Quality struct {
	Now         int64       `json:"now"`
	Ledger      Ledger      `json:"ledger"`
	Lag         Lag         `json:"ingestion_lag"`
	Duplication float64     `json:"duplication_rate"` // of the events that came as batches, 0 to 1
	Buckets     Buckets     `json:"buckets"`
	Flush       Flush       `json:"flush"`
	Fsync       Fsync       `json:"fsync"`
	Journal     Journal     `json:"journal"`
	Disk        Disk        `json:"disk"`
	Replay      Replay      `json:"replay"`
	MemoryShort bool        `json:"memory_short"`
	Batches     BatchFigure `json:"batches"`
}

// Flow is what came over one way, in events.
type Flow struct {
	Received  uint64            `json:"received"`
	Accepted  uint64            `json:"accepted"`
	Units     float64           `json:"accepted_units"`
	Amended   uint64            `json:"amended"`
	Noted     uint64            `json:"noted"`
	Rejected  map[string]uint64 `json:"rejected"` // by reason; those that are not 0
	Shed      map[string]uint64 `json:"shed"`     // in the same way
	Duplicate uint64            `json:"duplicate"`
	Dropped   uint64            `json:"kernel_dropped"` // datagrams
}

// Ledger is the account of all events.
type Ledger struct {
	Imbalance int64    `json:"imbalance"`
	Uneven    float64  `json:"units_imbalance"`
	Faults    []string `json:"faults"`
	CheckedAt float64  `json:"checked_at"` // of Imbalance
	Since     int64    `json:"since"`      // the start of the process
	Flow
	Recovered uint64 `json:"recovered"`
	Open      uint64 `json:"open"`
	Flushing  uint64 `json:"flushing"`
	Stored    uint64 `json:"stored"`

	OpenUnits     float64 `json:"open_units"`
	FlushingUnits float64 `json:"flushing_units"`
	StoredUnits   float64 `json:"stored_units"`

	ExpiredUnits float64 `json:"expired_units"` // as the events
	DeletedUnits float64 `json:"deleted_units"`

	DeletedSeries uint64 `json:"deleted_series"`

	StoredEver  uint64     `json:"stored_ever"`
	Expired     uint64     `json:"expired"`
	Deleted     uint64     `json:"deleted"`
	Lost        uint64     `json:"lost"` // in crashes, ever
	LostLately  uint64     `json:"lost_before_start"`
	LostInexact bool       `json:"lost_inexact"`
	Listeners   []Source   `json:"listeners"`
	Producers   []Producer `json:"producers"`
}

// Source is a listener, HTTP, or Cairn itself.
type Source struct {
	Kind    string `json:"kind"`
	Dialect string `json:"dialect,omitempty"`
	Address string `json:"address,omitempty"`
	Flow
}

// Producer is who numbers its batches; that without a name stands for all batches
// that are not numbered.
type Producer struct {
	Producer   string  `json:"producer"`
	Sequence   uint64  `json:"sequence"`
	Gaps       int     `json:"gaps"`
	InFlight   int     `json:"in_flight"`
	LastSeen   float64 `json:"last_seen"`
	Batches    uint64  `json:"batches"`
	Duplicates uint64  `json:"duplicates"`
	Conflicts  uint64  `json:"conflicts"`
	Refused    uint64  `json:"refused"`
	Shed       uint64  `json:"shed"`

	Received        uint64  `json:"events_received"`
	Accepted        uint64  `json:"events_accepted"`
	Units           float64 `json:"units_accepted"`
	Noted           uint64  `json:"events_noted"`
	Rejected        uint64  `json:"events_rejected"`
	DuplicateEvents uint64  `json:"events_duplicate"`
	ShedEvents      uint64  `json:"events_shed"`
}

// Lag is how long events wait, in seconds.
type Lag struct {
	Journaled *float64 `json:"journaled_s"` // nil: they are not journaled
	Stored    float64  `json:"stored_s"`
}

// Buckets counts seconds.
type Buckets struct {
	Open        int64  `json:"open"`
	Sealed      int64  `json:"sealed"`
	SealedUntil int64  `json:"sealed_until"`
	StoredUntil int64  `json:"stored_until"`
	Amended     uint64 `json:"amended_events"`
}

// Flush is how long flushes took.
type Flush struct {
	Last    float64 `json:"last_ms"`
	Longest float64 `json:"longest_ms"`
	Count   uint64  `json:"count"`
	Failed  uint64  `json:"failed"`
}

// Fsync is how long the journal's took.
type Fsync struct {
	Last    float64 `json:"last_ms"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Longest float64 `json:"longest_ms"`
	Count   uint64  `json:"count"`
}

// Journal is how large it is, and what was wrong with it.
type Journal struct {
	Bytes         int64    `json:"bytes"`
	Segments      int      `json:"segments"`
	Pending       int64    `json:"pending_bytes"`
	BacklogBytes  int64    `json:"backlog_bytes"`
	BacklogEvents uint64   `json:"backlog_events"`
	Torn          uint64   `json:"torn"`
	TornBytes     int64    `json:"torn_bytes"`
	Damaged       []string `json:"damaged"`
}

// Disk is how much room there is, in bytes.
type Disk struct {
	Free  *int64 `json:"free"` // nil: the file system does not tell
	Floor int64  `json:"floor"`
	Short bool   `json:"short"`
}

// Replay is how far the journal's replay at the start is.
type Replay struct {
	Running bool    `json:"running"`
	Events  uint64  `json:"events"`
	Records uint64  `json:"records"`
	Took    float64 `json:"took_ms"`
}

// BatchFigure counts batches.
type BatchFigure struct {
	Taken      uint64            `json:"taken"`
	Duplicates uint64            `json:"duplicates"`
	Refused    uint64            `json:"refused"`
	Shed       map[string]uint64 `json:"shed"`
	InFlight   int               `json:"in_flight"`
	Bytes      int               `json:"in_flight_bytes"`
}

const (
	maxProducers     = 10_000 // all that are known
	defaultProducers = 100
)

func (s *Server) quality(ctx *fasthttp.RequestCtx) {
	if n, ok := number(ctx, "limit", defaultProducers, maxProducers); ok {
		writeJSON(ctx, s.o.Quality(n))
	}
}
