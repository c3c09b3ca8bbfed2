package journal

// LastEpoch returns the highest epoch of the segments that are there.
func (l *Log) LastEpoch() (last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.readable {
			last = max(last, s.epoch)
		}
	}
	return last
}

// SetEpoch says which epoch new segments get. It comes before the first Append.
func (l *Log) SetEpoch(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.Epoch = epoch
}

// EndEvents returns End, and how many events all records before it hold, those
// included that were released.
func (l *Log) EndEvents() (Pos, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at, l.total
}

// EpochFrom returns the epoch of the first segment that holds something from p on;
// without one, that of the next, and 0 if it cannot be read.
func (l *Log) EpochFrom(p Pos) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if posOf(s.number, s.end) > p && s.readable {
			return s.epoch
		}
		if posOf(s.number, s.end) > p {
			return 0
		}
	}
	return l.o.Epoch
}

// Begin returns where the first segment of an epoch, or of a later one, begins.
func (l *Log) Begin(epoch uint64) Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if !s.readable || s.epoch >= epoch {
			return s.start()
		}
	}
	return posOf(l.at.segment(), headerLen)
}

// ReleaseBefore is Release of all that was written in earlier epochs.
func (l *Log) ReleaseBefore(epoch uint64) error { return l.Release(l.Begin(epoch)) }
