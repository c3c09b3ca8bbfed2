package tsdb

import (
	"encoding/binary"

	"cairn/internal/metric"
)

// First bytes of the keys. Those of chunks are the tiers 1 to 4; docs/format.md
// draws them all.
const (
	prefixMeta       = 0x00
	prefixMetric     = 0x10
	prefixLastSeen   = 0x11
	prefixSeries     = 0x12
	prefixAnnotation = 0x13
	prefixSequence   = 0x14
	prefixAccount    = 0x15
	prefixDeleted    = 0x16
	prefixDashboard  = 0x17 // what is known of the newest version
	prefixVersion    = 0x18 // of a dashboard
	prefixDescribed  = 0x19
)

var (
	keyFormat = []byte("\x00format")
	keyCursor = []byte("\x00cursor")
	keyTotals = []byte("\x00totals")
	keyClock  = []byte("\x00ttl")       // of the retention
	keyPolicy = []byte("\x00retention") // that is in force
	keyPast   = []byte("\x00policies")  // that were before
)

// chunkKeyLen is tier(1) partition(4) metric(4) series(4), big endian.
const chunkKeyLen = 13

func appendChunkKey(dst []byte, t metric.Tier, partition, metricNo, seriesNo uint32) []byte {
	dst = append(dst, byte(t))
	dst = binary.BigEndian.AppendUint32(dst, partition)
	dst = binary.BigEndian.AppendUint32(dst, metricNo)
	return binary.BigEndian.AppendUint32(dst, seriesNo)
}

func partitionOfKey(key []byte) uint32 { return binary.BigEndian.Uint32(key[1:]) }
func metricOfKey(key []byte) uint32    { return binary.BigEndian.Uint32(key[5:]) }
func seriesOfKey(key []byte) uint32    { return binary.BigEndian.Uint32(key[9:]) }

func metricKey(prefix byte, metricNo uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, metricNo)
}

func seriesKey(metricNo, seriesNo uint32) []byte {
	return appendSeriesKey(nil, metricNo, seriesNo)
}

func appendSeriesKey(dst []byte, metricNo, seriesNo uint32) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, prefixSeries), metricNo)
	return binary.BigEndian.AppendUint32(dst, seriesNo)
}

func annotationKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixAnnotation}, n)
}
