package query

import (
	"fmt"
	"time"
)

// Limits bound what one query costs; 0: no bound.
type Limits struct {
	Series  int           // that its filters let pass
	Samples int           // buckets that are read for it
	Time    time.Duration // that it may take, waiting included
}

// LimitError says which limit a query has reached, and how it gets below it or the limit
// is raised.
type LimitError struct {
	Sentence string
	Param    string // the parameter that it is about; "": several
}

// Error implements error.
func (e *LimitError) Error() string { return e.Sentence }

func limitErrorf(format string, args ...any) error {
	return &LimitError{Sentence: fmt.Sprintf(format, args...)}
}

const (
	// maxCells bounds the columns of one query, groups times points: 128 MB.
	maxCells = 16 << 20
	// maxBucketBytes bounds the buckets that one query merges into: a distribution's
	// take some hundred bytes to some thousand each, and several queries run at once.
	maxBucketBytes = 256 << 20
)

const less = "filter, group by fewer tags, or take a longer step or a shorter range"
