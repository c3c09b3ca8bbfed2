// Package journal is an append-only log of records in segment files, with group
// commit.
//
// In: records of a kind, a head and a body, none of which it understands. Out: their
// positions, the promise that they are on the disk, and the records again, in order.
//
// A segment file is NNNNNNNNNN.wal, its number in decimal. Integers are little endian.
//
//	 0  magic(8)    "cairnwal"
//	 8  version(4)  1
//	12  segment(4)  its number
//	16  salt(8)     random; every record of the segment begins with it
//	24  epoch(8)    the caller's
//	32  created(8)  Unix second, but no earlier than segments and records before it, if the
//	                clock went back: those have no event that is more than MaxFuture later
//	40  prev(4)     number of the segment before it; 0: there is none
//	44  end(4)      where that one's records end; what lies behind is never read
//	48  events(8)   of all records before this segment
//	56  zero(4)
//	60  crc(4)      CRC-32C of bytes 0 to 59
//	64  records
//
// A record:
//
//	 0  salt(8)     of its segment
//	 8  crc(4)      CRC-32C of segment(4), the record's offset(4), and bytes 0 to 7 and 12 to 55
//	12  crc(4)      CRC-32C of head and body
//	16  kind(1) zero(3)
//	20  head(4)     its length
//	24  body(4)     its length, as it is stored
//	28  synced(4)   bytes of this segment that were known to be durable when it was appended
//	32  events(8)   in it
//	40  last(8)     latest Unix second of them; 0: none
//	48  total(8)    events of all records up to and including this one
//	56  head, body (snappy's block format)
//
// Kind 0 is the journal's own: a record without events that ends a segment when the
// log is closed, and says by its synced field that all before it was durable.
//
// Invariants:
//   - A ticket's Wait returns nil only when the record, its segment's header and the
//     directory entries that lead to it are durable.
//   - A record whose ticket failed is never read again: the segment ends before it,
//     as the next segment's header says.
//   - Positions only grow, also over restarts, if Options.After is given.
//   - A bad stretch in the last segment that no record behind it knows to have been
//     durable is a torn tail: a crash cut it, nobody was told that it is safe, and it
//     is dropped and counted. Every other bad stretch is damage: it is reported with
//     the exact number of events lost, which the totals give, and is never deleted.
//     A client cannot put a forged record into a body, as it does not know the salt.
//
// Segments with damage are not removed when their time has come: they are moved to
// quarantine/ in the journal's directory, where Replay also puts a copy of each
// damaged stretch (NNNNNNNNNN-OOOOOOOOOO.bad: segment and offset).
//
// It does not: look into records, drop duplicates, retry a failed fsync (the kernel
// may have dropped the pages, and would then say that all is well), or lock its
// directory (the data dir's lock does).
package journal
