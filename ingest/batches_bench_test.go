package ingest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/golang/snappy"
)

// BenchmarkBatch is the server's share of a batch of 500 lines, and of as many events
// in JSON, without HTTP and the disk.
func BenchmarkBatch(b *testing.B) {
	var lines, events []string
	for i := range 500 {
		lines = append(lines, fmt.Sprintf("shop.orders.%d:%d|c|#env:prod,region:eu-%d", i%20, i, i%5))
		events = append(events, fmt.Sprintf(`{"metric":"shop.orders.%d","value":%d,"tags":{"env":"prod","region":"eu-%d"}}`, i%20, i, i%5))
	}
	for name, body := range map[string]string{"text/plain": strings.Join(lines, "\n"), "application/json": "[" + strings.Join(events, ",") + "]"} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, testParser)
			wire := snappy.Encode(nil, []byte(body))
			b.ReportAllocs()
			seq := 0
			for b.Loop() {
				seq++
				a, refusal := r.b.Ingest(&Request{
					Producer: testProducer, Sequence: strconv.Itoa(seq), ContentEncoding: "snappy", ContentType: name, Length: len(wire), Body: bytes.NewReader(wire),
				})
				if refusal != nil || a.Accepted != 500 {
					b.Fatalf("%+v %+v", a, refusal)
				}
			}
		})
	}
}
