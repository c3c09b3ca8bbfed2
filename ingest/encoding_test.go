package ingest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func free(int) *Refusal { return nil }

func TestDeflateEndsWithTheBody(t *testing.T) {
	d := newDecoders()
	defer d.close()
	for _, how := range []string{"zlib", "raw"} {
		for n := range 40 {
			body := []byte(strings.Repeat("a:1|c\n", n))
			wire := packed(t, how, body)
			got, refusal := d.decode(nil, deflateStream, wire, free)
			require.Nil(t, refusal, "%s, %d lines", how, n)
			require.Equal(t, string(body), string(got))
			for _, more := range [][]byte{{0}, wire} {
				_, refusal = d.decode(nil, deflateStream, append(bytes.Clone(wire), more...), free)
				require.NotNil(t, refusal, "%s, %d lines and %d bytes", how, n, len(more))
				require.Equal(t, statusBad, refusal.Status)
				require.Contains(t, refusal.Sentence, "after its deflate data")
			}
		}
	}
}

func TestZstdWindow(t *testing.T) {
	d := newDecoders()
	defer d.close()
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z, zstd.WithWindowSize(2*MaxDecoded))
	require.NoError(t, err)
	_, err = w.Write([]byte("a:1|c\n"))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	require.NoError(t, w.Close())
	_, refusal := d.decode(nil, zstdFrames, z.Bytes(), free)
	require.NotNil(t, refusal)
	require.Equal(t, statusTooLarge, refusal.Status)
	require.Contains(t, refusal.Sentence, "window")
}
