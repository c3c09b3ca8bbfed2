package app

import (
	"fmt"
	"sync"
	"time"

	"cairn/internal/flush"
	"cairn/internal/selfmon"
	"cairn/web"
)

func (a *App) status() web.Status {
	now := a.env.Clock.Now()
	return web.Status{
		Version: Version, Started: a.started.Unix(), Now: now.Unix(), Uptime: int64(now.Sub(a.started) / time.Second),
		UDP: a.addresses(selfmon.UDP), UDS: a.addresses(selfmon.UDS), TCP: a.addresses(selfmon.TCP),
		HTTP: a.web.Addr(), Grace: int64(a.config.Grace / time.Second), Stages: a.stages(now), Backup: a.backups.get(),
	}
}

// settings is GET /api/config.
func (a *App) settings() []web.Setting {
	out := make([]web.Setting, 0, len(a.config.Settings))
	for _, s := range a.config.Settings {
		out = append(out, web.Setting(s))
	}
	return out
}

// backups remembers the last backup since the start.
type backups struct {
	mu   sync.Mutex // guards last, which does not change
	last *web.Backup
}

func (b *backups) get() *web.Backup {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *backups) set(last *web.Backup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = last
}

// stages tells how each part does, in the order in which events pass them.
func (a *App) stages(now time.Time) []web.Stage {
	return []web.Stage{a.receiving(), a.journalStage(), a.flushStage(now), a.storeStage(), a.diskStage(), a.accountStage()}
}

func stage(name, state, format string, args ...any) web.Stage {
	return web.Stage{Name: name, State: state, Sentence: fmt.Sprintf(format, args...)}
}

func (a *App) receiving() web.Stage {
	const name = "receiving"
	var dropped uint64
	for _, l := range a.listeners {
		for _, s := range l.Sockets() {
			dropped += s.Drops
		}
	}
	switch {
	case a.engine.Agg.Registry.Full():
		return stage(name, web.StateWarning, "Memory is short: new series fold into __overflow__:true; known ones are counted. Raise --max-memory, or send fewer tags.")
	case dropped > 0:
		return stage(name, web.StateWarning, "The kernel has dropped %d datagrams since the start, because the receive buffer was full. Raise net.core.rmem_max and --udp-buffer.", dropped)
	}
	return stage(name, web.StateOK, "Events are received on %d listeners and over HTTP.", len(a.listeners))
}

func (a *App) journalStage() web.Stage {
	const name = "journal"
	r := a.engine.Recovered()
	switch {
	case len(r.Damaged) > 0:
		return stage(name, web.StateWarning, "The journal was damaged at %d places when it was read; what was there was not counted. See /api/quality.", len(r.Damaged))
	case a.engine.Replaying():
		return stage(name, web.StateWarning, "The journal is being replayed: %d events so far. Queries may miss what is not read yet.", r.Events)
	case !a.config.JournalUDP:
		return stage(name, web.StateWarning, "Only batches are journaled (--journal-udp is off): a kill loses what came by datagram since the last flush.")
	case !a.config.JournalSync:
		return stage(name, web.StateWarning, "The journal is written, but not synced (--journal-sync is off): a power cut loses the last of it.")
	}
	return stage(name, web.StateOK, "The journal is written and synced; it takes %d MiB.", a.engine.Journal.Stats().Bytes>>20)
}

// lateFlushes is how many flushes may be missed before that is called a failure.
const lateFlushes = 3

func (a *App) flushStage(now time.Time) web.Stage {
	since := a.started
	if w := a.engine.Store.Cursor().Watermark; w > 0 && w.Time().After(since) {
		since = w.Time()
	}
	// Buckets before since are in the store, and so is what came before the lag was all.
	behind := min(now.Sub(since), a.ledger.Lag().Stored).Truncate(time.Second)
	if a.engine.Replaying() {
		return stage("flush", web.StateWarning, "Nothing is flushed until the journal is replayed.")
	}
	return a.flushed(behind, a.engine.Pump.Stats())
}

// flushed tells how flushes do, where the oldest event that is not stored waits since behind.
func (a *App) flushed(behind time.Duration, p flush.Stats) web.Stage {
	const name = "flush"
	switch {
	case behind > a.config.Grace+lateFlushes*a.config.FlushInterval+p.Longest:
		return stage(name, web.StateFailing, "Nothing was flushed for %s; it waits in memory, and in the journal. The log says why.", behind)
	case p.Failed > 0:
		return stage(name, web.StateWarning, "%d flushes have failed since the start; what they had was flushed later. The last one took %s.", p.Failed, p.Last.Round(time.Millisecond))
	}
	return stage(name, web.StateOK, "%d flushes since the start; the last one took %s.", p.Flushes, p.Last.Round(time.Millisecond))
}

func (a *App) storeStage() web.Stage {
	const name = "store"
	if n := a.engine.Store.Damaged(); n > 0 {
		return stage(name, web.StateFailing, "%d operands in the store could not be read, and are kept beside what is good. Run cairn verify.", n)
	}
	f := a.engine.Store.Figures()
	if f.CompactionsFailed > 0 {
		return stage(name, web.StateWarning, "%d compactions have failed since the start. The log says why.", f.CompactionsFailed)
	}
	return stage(name, web.StateOK, "The store holds %d events in %d MiB.", a.engine.Store.Totals().Events, a.engine.Store.DiskBytes()>>20)
}

func (a *App) diskStage() web.Stage {
	const name = "disk"
	d := a.engine.Disk()
	switch {
	case d.Short:
		return stage(name, web.StateFailing, "Less than %d MiB are free: nothing is written, and batches are refused, until there is room.", d.Floor>>20)
	case d.Free < 0:
		return stage(name, web.StateOK, "The file system does not tell how much is free.")
	case d.Free < 2*d.Floor:
		return stage(name, web.StateWarning, "%d MiB are free; below %d MiB nothing is written.", d.Free>>20, d.Floor>>20)
	}
	return stage(name, web.StateOK, "%d MiB are free; below %d MiB nothing is written.", d.Free>>20, d.Floor>>20)
}

func (a *App) accountStage() web.Stage {
	const name = "ledger"
	c := a.ledger.Check()
	switch {
	case c.At.IsZero():
		return stage(name, web.StateOK, "The account is not drawn up yet.")
	case !c.Balanced():
		return stage(name, web.StateFailing, "The account does not balance: %d events are unaccounted for. See /api/quality.", c.Imbalance)
	}
	return stage(name, web.StateOK, "Every event is accounted for.")
}
