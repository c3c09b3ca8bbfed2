package engine

import "cairn/internal/journal"

// Lost returns how many events crashes have cost over the life of the data dir.
func (e *Engine) Lost() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost.events
}

// BatchesAmended returns how many events of batches were for seconds that were sealed
// when they came.
func (e *Engine) BatchesAmended() (n uint64) {
	for i := range batchStripes {
		n += e.Agg.Stripe(len(e.o.Resolvers) + i).Counts().Amended
	}
	return n
}

// Disk is how much room there is.
type Disk struct {
	Free, Floor int64 // bytes; Free is -1 where the file system does not tell
	Short       bool  // nothing is written
}

// Disk returns what was found a second ago at most.
func (e *Engine) Disk() Disk {
	return Disk{e.disk.free.Load(), e.disk.floor.Load(), e.disk.short() != nil}
}

// Backlog returns how many bytes of the journal, from the oldest position that the
// store needs on, a start would read now, and how many events were journaled since the
// last flush.
func (e *Engine) Backlog() (bytes int64, events uint64) {
	c := e.Store.Cursor()
	if _, all := e.Journal.EndEvents(); all > c.Journaled {
		events = all - c.Journaled
	}
	return e.Journal.From(journal.Pos(c.Oldest)), events
}

// Journaled calls visit for each stripe that is journaled every second, with how many
// events it accepted, and how many of them are in the journal.
func (e *Engine) Journaled(visit func(accepted, kept uint64)) {
	for i := range e.Agg.Len() {
		if s := e.Agg.Stripe(i); s.KeepsDeltas() {
			c := s.Counts()
			visit(c.Accepted, c.Kept)
		}
	}
}
