package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/clock"
)

// disk watches how much room there is. Below a floor nothing is written, so that
// the store has room for its compactions; a write of the store that still finds the
// disk full waits until there is room again, because Pebble ends the process where
// its log cannot be written. While the store is opened or closed nothing waits, or not
// for long: who starts or stops the process is told.
type disk struct {
	fs      vfs.FS
	dir     string
	minFree int64
	log     *slog.Logger
	clock   clock.Clock
	fatal   func(sentence string)
	spare   func() // gives up what is only kept for convenience; called while there is no room

	free  atomic.Int64 // bytes; -1: the file system does not tell
	floor atomic.Int64

	started atomic.Bool
	ctx     context.Context // done when nothing waits any more
	stop    context.CancelFunc
	hurried *time.Timer // of hurry
	wg      sync.WaitGroup
}

const (
	// diskEvery is how often it looks: a disk that fills at 1 GB/s takes as long
	// for the default floor.
	diskEvery = time.Second
	// maxFloor and floorShare are the default floor: 5% of the disk, at most 1 GiB.
	maxFloor   = 1 << 30
	floorShare = 20
	// roomAgain is what must be free before the store tries again, if the floor is
	// lower: it tries a write once, and one takes some hundred KiB at most. A disk so
	// small that this is more than its share of floorShare needs that only.
	roomAgain = 8 << 20
	// closeWait is how long the store waits for room when the engine closes: what it
	// has not got is in the journal.
	closeWait = 2 * time.Second
)

func newDisk(o *Options) *disk {
	d := &disk{fs: o.FS, dir: o.Dir, minFree: o.MinFree, clock: o.Clock, log: o.Log, fatal: o.Fatal}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.free.Store(-1)
	return d
}

// start looks once, and then every second until close.
func (d *disk) start() {
	d.started.Store(true)
	d.look()
	d.wg.Go(func() {
		t := time.NewTicker(diskEvery)
		defer t.Stop()
		for {
			select {
			case <-d.ctx.Done():
				return
			case <-t.C:
				d.look()
			}
		}
	})
}

// hurry makes the store wait for no more than closeWait from now on.
func (d *disk) hurry() { d.hurried = time.AfterFunc(closeWait, d.stop) }

func (d *disk) close() {
	if d.hurried != nil {
		d.hurried.Stop()
	}
	d.stop()
	d.wg.Wait()
}

// look reads the figures, and returns how much of the disk is free beyond what must be
// before the store tries again.
func (d *disk) look() (room int64) {
	u, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		d.free.Store(-1) // in memory, or a system without the call
		return 0
	}
	floor := d.floorOf(u)
	was := d.short() != nil
	d.free.Store(int64(min(u.AvailBytes, 1<<62)))
	d.floor.Store(floor)
	is := d.short()
	if is != nil && d.spare != nil {
		d.spare()
	}
	if (is != nil) != was {
		if is != nil {
			d.log.Error("nothing is written any more, and batches are refused, until there is room", "error", is, "free", d.free.Load())
		} else {
			d.log.Info("there is room on the disk again", "free", d.free.Load())
		}
	}
	return d.free.Load() - max(floor, min(roomAgain, int64(u.TotalBytes/floorShare)))
}

// floorOf is what must be free of a disk.
func (d *disk) floorOf(u vfs.DiskUsage) int64 {
	if d.minFree != 0 {
		return d.minFree
	}
	return defaultFloor(u)
}

func defaultFloor(u vfs.DiskUsage) int64 { return min(maxFloor, int64(u.TotalBytes/floorShare)) }

// short returns an error while less than the floor is free.
func (d *disk) short() error {
	free, floor := d.free.Load(), d.floor.Load()
	if free < 0 || free >= floor {
		return nil
	}
	// How much is free is not in it: who logs it says what is new only.
	return fmt.Errorf("the disk of the data dir has less than --min-free-disk (%d MiB) left", floor>>20)
}

// wait returns once there is room. While the store is being opened there is nothing to
// be kept up, and once it closes nobody waits for long: then it ends the process.
func (d *disk) wait() {
	if !d.started.Load() {
		d.fatal("the disk of the data dir is full: there is no room to open the store; make some and start again")
	}
	d.log.Error("the disk is full: the store waits until there is room")
	t := time.NewTicker(diskEvery / 4)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			d.fatal("the disk of the data dir is full: not everything could be stored; what was acknowledged is in the journal, and counts with the next start")
			return
		case <-t.C:
			room := d.look()
			if room >= 0 { // where nothing tells, it tries again
				return
			}
			if d.spare != nil {
				d.spare()
			}
		}
	}
}
