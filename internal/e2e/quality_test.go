package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// flow is what GET /api/quality tells of one way that events come.
type flow struct {
	Kind, Address                        string
	Received, Accepted, Noted, Duplicate uint64
	AcceptedUnits                        float64 `json:"accepted_units"`
	Amended                              uint64
	Rejected, Shed                       map[string]uint64
}

// quality is what GET /api/quality answers, as far as tests look at it.
type quality struct {
	Ledger struct {
		flow
		Imbalance   int64
		Units       float64 `json:"units_imbalance"`
		Faults      []string
		CheckedAt   float64 `json:"checked_at"`
		Recovered   uint64
		Open        uint64
		Flushing    uint64
		Stored      uint64
		StoredEver  uint64  `json:"stored_ever"`
		OpenUnits   float64 `json:"open_units"`
		StoredUnits float64 `json:"stored_units"`
		Lost        uint64
		LostLately  uint64 `json:"lost_before_start"`
		LostInexact bool   `json:"lost_inexact"`
		Listeners   []flow
		Producers   []struct {
			Producer                      string
			Sequence, Batches, Duplicates uint64
			Conflicts, Refused            uint64
			Gaps                          int
			Received                      uint64  `json:"events_received"`
			Accepted                      uint64  `json:"events_accepted"`
			Units                         float64 `json:"units_accepted"`
			Rejected                      uint64  `json:"events_rejected"`
			Duplicate                     uint64  `json:"events_duplicate"`
		}
	}
	Lag struct {
		Journaled *float64 `json:"journaled_s"`
		Stored    float64  `json:"stored_s"`
	} `json:"ingestion_lag"`
	Duplication float64 `json:"duplication_rate"`
	Buckets     struct{ Sealed int64 }
	Fsync       struct{ Count uint64 }
	Replay      struct {
		Running bool
		Events  uint64
	}
	Batches struct {
		Taken, Duplicates, Refused uint64
	}
}

// Quality asks /api/quality, and fails if an event is missing.
func (s *server) Quality() (q quality) {
	s.t.Helper()
	s.getJSON("/api/quality", nil, &q)
	require.Zero(s.t, q.Ledger.Imbalance, "%v", q.Ledger.Faults)
	require.Zero(s.t, q.Ledger.Units, "%v", q.Ledger.Faults)
	return q
}

// awaitQuality asks until ok says that it is so.
func (s *server) awaitQuality(ok func(q *quality) bool) (q quality) {
	s.t.Helper()
	eventually(s.t, seenLimit, func() (bool, string) {
		q = s.Quality()
		return ok(&q), fmt.Sprintf("%+v", q)
	})
	return q
}

// Ingest posts lines as a producer's batch; without a producer, as nobody's.
func (s *server) Ingest(producer string, sequence int, lines ...string) int {
	s.t.Helper()
	status, err := s.ingest(producer, sequence, strings.Join(lines, "\n"))
	require.NoError(s.t, err)
	return status
}

func (s *server) ingest(producer string, sequence int, body string) (int, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.HTTP+"/api/ingest", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "text/plain")
	if producer != "" {
		req.Header.Set("Cairn-Producer", producer)
		req.Header.Set("Cairn-Sequence", strconv.Itoa(sequence))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

const somebody = "0190c2a4-7b1e-7cc3-98c4-dc0c0c07398f"

// TestTheLedgerIsWhatWasSent sends over all ways, kills the server, and compares.
func TestTheLedgerIsWhatWasSent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.awaitQuality(func(q *quality) bool { return q.Buckets.Sealed > 1 }) // what is late, is late from then on
	late := strconv.FormatInt(time.Now().Unix()-100, 10)
	for range 50 {
		s.Send("a:1|c", "a:2|c|#k:v", "bad:x|c", "odd:1|q", "late:1|c|T"+late)
	}
	s.Send("_sc|disk|0")
	require.Equal(t, 200, s.Ingest(somebody, 1, "b:1|c", "b:x|c", "b:3|c"))
	require.Equal(t, 200, s.Ingest(somebody, 1, "b:1|c", "b:x|c", "b:3|c"))
	require.Equal(t, 409, s.Ingest(somebody, 1, "b:7|c"))
	require.Equal(t, 200, s.Ingest(somebody, 4, "b:1|c|T"+late))
	require.Equal(t, 200, s.Ingest("", 0, "b:1|c", "c:1|q"))

	const accepted = 150 + 2 + 1 + 1
	q := s.awaitQuality(func(q *quality) bool { return q.Ledger.Stored == accepted })
	l := &q.Ledger
	require.EqualValues(t, 251+3+3+1+2, l.Received)
	require.EqualValues(t, accepted, l.Accepted)
	require.EqualValues(t, 1, l.Noted)
	require.EqualValues(t, 3, l.Duplicate)
	require.Equal(t, map[string]uint64{"bad_value": 51, "bad_type": 51}, l.Rejected)
	require.Empty(t, l.Shed)
	require.EqualValues(t, 51, l.Amended)
	require.Zero(t, l.Open+l.Flushing+l.Recovered+l.Lost)
	require.InDelta(t, 3.0/9, q.Duplication, 1e-9)
	require.EqualValues(t, []uint64{3, 1, 1}, []uint64{q.Batches.Taken, q.Batches.Duplicates, q.Batches.Refused})
	require.NotZero(t, q.Fsync.Count)
	require.InDelta(t, time.Now().Unix(), l.CheckedAt, 60)
	byKind := map[string]flow{}
	for _, f := range l.Listeners {
		byKind[f.Kind] = f
	}
	require.EqualValues(t, 251, byKind["UDP"].Received)
	require.EqualValues(t, 9, byKind["HTTP"].Received)
	require.EqualValues(t, 4, byKind["HTTP"].Accepted)
	require.EqualValues(t, []uint64{50, 1}, []uint64{byKind["UDP"].Amended, byKind["HTTP"].Amended})
	require.Equal(t, []float64{200, 6, 206}, []float64{byKind["UDP"].AcceptedUnits, byKind["HTTP"].AcceptedUnits, l.AcceptedUnits})
	require.Equal(t, []float64{206, 0, 5, 1}, []float64{l.StoredUnits, l.OpenUnits, l.Producers[0].Units, l.Producers[1].Units})
	require.Len(t, l.Producers, 2, "and those without a name")
	p := l.Producers[0]
	require.Equal(t, somebody, p.Producer)
	require.EqualValues(t, []uint64{4, 2, 1, 1, 1}, []uint64{p.Sequence, p.Batches, p.Duplicates, p.Conflicts, p.Refused})
	require.EqualValues(t, []uint64{7, 3, 1, 3}, []uint64{p.Received, p.Accepted, p.Rejected, p.Duplicate})
	require.Equal(t, 2, p.Gaps)
	require.Empty(t, l.Producers[1].Producer)
	require.EqualValues(t, 2, l.Producers[1].Received)
	f := s.Figures()
	require.EqualValues(t, 3, f["cairn_events_duplicate_total"])
	require.EqualValues(t, 51, f["cairn_events_amended_total"])
	require.EqualValues(t, 3, f["cairn_batches_total"])
	s.MustStop()
}

// TestAKillIsAccountedFor: what was accepted is recovered or told to be lost, to the event.
func TestAKillIsAccountedFor(t *testing.T) {
	t.Parallel()
	slow := []string{"--grace", "1s", "--flush-interval", "1h"} // nothing gets into the store
	s := startWith(t, nil, slow...)
	for range 100 {
		s.Send("kept:1|c", "kept:1|c|#k:v")
	}
	s.awaitQuality(func(q *quality) bool {
		return q.Ledger.Accepted == 200 && q.Lag.Journaled != nil && *q.Lag.Journaled == 0
	})
	require.Equal(t, 200, s.Ingest(somebody, 1, "batch:1|c", "batch:1|c"))
	for range 100 {
		s.Send("late:1|c")
	}
	s.AwaitReceived(302)
	s.Kill()

	s = startWith(t, nil, append(slow, "--data-dir", s.Dir)...)
	q := s.awaitQuality(func(q *quality) bool { return !q.Replay.Running })
	l := q.Ledger
	require.Zero(t, l.Accepted)
	require.EqualValues(t, 302, l.Recovered+l.LostLately)
	require.GreaterOrEqual(t, l.Recovered, uint64(202), "it was in the journal")
	require.Equal(t, l.Lost, l.LostLately)
	require.False(t, l.LostInexact)
	require.Equal(t, l.Recovered, l.Open+l.Flushing+l.Stored)
	require.EqualValues(t, l.Recovered, s.Total("kept", "1s")+s.Total("late", "1s")+s.Total("batch", "1s"))
	require.Equal(t, 200, s.Ingest(somebody, 1, "batch:1|c", "batch:1|c"))
	q = s.Quality()
	require.EqualValues(t, 2, q.Ledger.Duplicate)
	s.MustStop()

	again := startWith(t, nil, append(slow, "--data-dir", s.Dir)...)
	q = again.Quality()
	require.Equal(t, l.Recovered, q.Ledger.StoredEver)
	require.Equal(t, l.Lost, q.Ledger.Lost, "it is not forgotten")
	require.Zero(t, q.Ledger.LostLately+q.Ledger.Recovered)
	again.MustStop()
}

// TestTheLedgerBalancesUnderLoad looks at it all the time while events come.
func TestTheLedgerBalancesUnderLoad(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent [4]uint64
	batch := strings.Repeat("load:1|c|#k:v\nload:2|ms\nbad:x|c\n", 100)
	for i := range sent {
		producer := fmt.Sprintf("0190c2a4-7b1e-7cc3-98c4-dc0c0c07390%d", i)
		wg.Go(func() {
			for seq := 1; ; seq++ {
				select {
				case <-stop:
					return
				default:
				}
				if status, err := s.ingest(producer, seq, batch); err == nil && status == 200 {
					sent[i] += 200
				}
			}
		})
	}
	traffic := startTraffic(t, s)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 40 {
		<-tick.C
		q := s.Quality() // which says that it balances
		require.NotZero(t, q.Ledger.Accepted)
	}
	close(stop)
	wg.Wait()
	traffic.end()
	want := sent[0] + sent[1] + sent[2] + sent[3]
	require.NotZero(t, want)
	q := s.Quality()
	for _, f := range q.Ledger.Listeners {
		if f.Kind == "HTTP" {
			require.Equal(t, want, f.Accepted)
		}
	}
	s.MustStop()
}

func TestQualitySpeaksJSON(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	resp, body := s.Get("/api/quality", nil)
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, json.Valid(body))
	require.NotContains(t, string(body), "null", "a list that is empty is one")
	s.MustStop()
}
