package engine

import (
	"math/rand/v2"
	"time"

	"cairn/agg"
	"cairn/ingest"
)

const (
	// replayWait is how long a batch waits for the replay before it is refused: that of
	// an ordinary crash is done by then.
	replayWait = 2 * time.Second
	// fullWait is when to come again while the disk is full.
	fullWait = 10 * time.Second
)

func (e *Engine) newBatches() *ingest.Batches {
	var stripes []*agg.Stripe
	for i := range batchStripes {
		stripes = append(stripes, e.Agg.Stripe(len(e.o.Resolvers)+i))
	}
	return ingest.NewBatches(ingest.BatchOptions{
		Stripes: stripes, Parser: e.o.Parser, Log: e.Journal, Windows: e.Windows, Clock: e.o.Clock,
		Random: rand.New(rand.NewPCG(e.o.Seed, 1)), Notes: e.Notes, Unavailable: e.unavailable,
	})
}

// unavailable says why no batch can be taken now; during a replay it waits for a while.
func (e *Engine) unavailable() (sentence string, wait time.Duration) {
	if e.replaying.Load() {
		t := time.NewTimer(replayWait)
		defer t.Stop()
		select {
		case <-e.ready:
		case <-t.C:
			return "the journal is being replayed after a crash; what it holds must be counted before more can be", replayWait
		}
	}
	if err := e.disk.short(); err != nil {
		return err.Error() + "; nothing is written until there is room", fullWait
	}
	return "", 0
}
