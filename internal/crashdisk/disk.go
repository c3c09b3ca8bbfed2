// Package crashdisk is the disk of tests that lose power: Pebble's file system in memory,
// whose copies hold what a crash may leave.
//
// In: what a store writes. Out: copies, taken while it writes. MemFS by itself is not up to
// that: its Link takes a lock for reading twice, and waits for ever if a copy begins to wait
// for the lock in between.
package crashdisk

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is a MemFS of which copies may be taken at any time.
type Disk struct {
	*vfs.MemFS

	linking sync.RWMutex // held for reading by links, and for writing by copies
}

// New returns an empty one.
func New() *Disk { return &Disk{MemFS: vfs.NewCrashableMem()} }

// Link implements vfs.FS.
func (d *Disk) Link(oldname, newname string) error {
	d.linking.RLock()
	defer d.linking.RUnlock()
	return d.MemFS.Link(oldname, newname)
}

// CrashClone returns what a crash leaves, as that of MemFS.
func (d *Disk) CrashClone(cfg vfs.CrashCloneCfg) *Disk {
	d.linking.Lock()
	defer d.linking.Unlock()
	return &Disk{MemFS: d.MemFS.CrashClone(cfg)}
}
