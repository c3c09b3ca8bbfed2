package ledger

import "time"

// lag tells how long events wait for the journal. Of each stripe it marks how many
// events it has accepted at an instant; once as many are in the journal, all that came
// until then are.
type lag struct {
	marks []mark
	at    time.Time // of the last look
	empty time.Time // when everything was in the store
	scale float64   // the most units that were ever seen
}

type mark struct {
	accepted uint64
	at       time.Time // when accepted was right
	until    time.Time // all that came until then are in the journal
}

func (m *mark) look(j Journaled, now time.Time) {
	switch {
	case j.Kept >= j.Accepted:
		m.until = now
	case j.Kept >= m.accepted:
		m.until = m.at
	default:
		return // the mark is not reached yet
	}
	m.accepted, m.at = j.Accepted, now
}

// look marks how far the stripes are.
func (l *Ledger) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	l.lag.at = now
	_, all := l.s.Recovered()
	if p := l.s.Pump(); all && p.Open+p.Frozen == 0 {
		l.lag.empty = now
	}
	if l.s.Journaled == nil {
		return
	}
	stripes := l.s.Journaled()
	for i, j := range stripes {
		if i == len(l.lag.marks) {
			l.lag.marks = append(l.lag.marks, mark{at: now, until: now})
		}
		l.lag.marks[i].look(j, now)
	}
}

// Lag is how long events wait; each is at most as much, to about a second.
type Lag struct {
	// Journaled is how long ago the oldest event came that is not in the journal yet;
	// 0: all are. It means something if AnyJournaled is set.
	Journaled    time.Duration
	AnyJournaled bool
	// Stored is how long ago everything was in the store.
	Stored time.Duration
}

// Lag tells how long events wait now.
func (l *Ledger) Lag() (out Lag) {
	l.look()
	l.mu.Lock()
	defer l.mu.Unlock()
	out.AnyJournaled = len(l.lag.marks) > 0
	for i := range l.lag.marks {
		out.Journaled = max(out.Journaled, l.lag.at.Sub(l.lag.marks[i].until))
	}
	out.Stored = max(0, l.lag.at.Sub(l.lag.empty))
	return out
}
