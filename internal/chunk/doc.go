// Package chunk is the bytes of a chunk: all buckets of one series in one partition.
//
// In come operands of any form and in any order (Accumulator), and out comes their
// sum in the smaller form; or a chunk comes in, and its slots go out (Decoder).
// docs/format.md draws the forms:
//
//	0x11 .. 0x14  a run: slot after slot; all operands of a flush (run.go)
//	0x21 .. 0x24  columns, where they are smaller (counter.go, columns.go)
//	0x0f          a chunk, and operands beside it that are damaged (damage.go)
//
// Columns begin alike:
//
//	byte     format
//	byte     presence: 0 sparse, 1 dense with holes (counters only), 2 dense
//	uvarint  count: slots with an event, at least 1
//	uvarint  first: the first of them
//	sparse:  integers, count - 1: slots skipped between one slot and the next
//	holes:   uvarint: how many slots are covered, from first on
//
// and then hold columns of n values each:
//
//	integers  varint min; byte shape; planes; low bits
//	          shape 0 to 47: one plane, of (v - min) >> shape; the low shape bits of each
//	          v - min follow, packed from the lowest bit up, to a whole byte
//	          shape 0x82 to 0x87: 2 to 7 planes, the bytes of v - min from the lowest up
//	numbers   byte e, 0 to 6: integers, to be divided by 10^e
//	          byte 0x10: eight planes, the bytes of float64s from the lowest up
//	plane     byte 0: n bytes
//	          byte 1, byte b: n times b
//	          byte 2, uvarint length: huff0, table and one stream
//	          byte 3, uvarint length: huff0, table and four streams
//
// Low bits of smooth data are noise, which a Huffman code of many symbols stores no shorter:
// the encoder cuts off as many as its estimate says is cheapest.
//
// Invariants: numbers are finite, and come back bit for bit, except that -0 is 0; what is
// decoded has ascending slots below the tier's limit; no bytes make the package panic
// or take more memory than a chunk of so many slots may. There are no checksums: Pebble has them.
//
// The package knows no keys, no store, and which tier a chunk is of only as
// its limit of slots.
package chunk
