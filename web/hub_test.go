package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
)

// streamed is a hub over answers that a test makes up, in a bubble of synctest.
type streamed struct {
	*hub
	mu        sync.Mutex
	evaluated int
	answer    func(now int64) (*query.Result, error)
}

func newStreamed(answer func(now int64) (*query.Result, error)) *streamed {
	s := &streamed{answer: answer}
	c := clock.NewSystem()
	s.hub = newHub(c, func(context.Context, string, parameters, int) (*query.Result, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.evaluated++
		return s.answer(c.Now().Unix())
	}, func(err error) []byte { return fmt.Appendf(nil, "{\"error\":%q}", err) }, slog.New(slog.DiscardHandler))
	return s
}

func (s *streamed) evaluations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evaluated
}

// counting is a minute at 1s of a counter that counts one each second.
func counting(now int64) (*query.Result, error) {
	r := &query.Result{Metric: "m", Kind: metric.Counter, Fn: query.Count, Grid: query.EvenGrid(metric.UnixSec(now-59), metric.UnixSec(now+1), 1), Tier: metric.Tier1s, SealedUntil: metric.UnixSec(now - 10)}
	s := query.Series{Values: make([]float64, 60)}
	for i := range s.Values {
		s.Values[i] = float64(now - 59 + int64(i))
	}
	r.Series = []query.Series{s}
	return r, nil
}

func param(pairs ...string) parameters {
	p := make(parameters)
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = append(p[pairs[i]], pairs[i+1])
	}
	return p
}

// waiting returns what is queued for a viewer.
func (v *viewer) waiting() (out []string) {
	for {
		select {
		case m, ok := <-v.queue:
			if !ok {
				return append(out, "end")
			}
			out = append(out, strings.TrimSuffix(string(m()), "\n\n"))
		default:
			return out
		}
	}
}

func nothingToAbort() {}

// TestManyViewersOneEvaluation: and one encoding, at every full second; and everybody has
// what a fresh query answers, whenever they came.
func TestManyViewersOneEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreamed(counting)
		time.Sleep(300 * time.Millisecond) // not at a full second
		var viewers []*viewer
		have := map[*viewer]map[string]any{}
		forms := []parameters{param("metric", "m", "by", "b,a"), param("by", "a", "by", "b", "metric", "m"), param("metric", "m", "by", "a,b", "from", "now-1h", "to", "now", "step", "")}
		join := func(n int) {
			for i := range n {
				v, err := s.join(forms[i%3], nothingToAbort)
				require.NoError(t, err)
				viewers = append(viewers, v)
			}
			synctest.Wait()
		}
		join(200)
		require.Equal(t, 1, s.evaluations(), "the first does not wait for a full second")
		for second := range 5 {
			time.Sleep(time.Second)
			synctest.Wait()
			if second < 3 {
				join(100)
			}
			require.Equal(t, 2+second, s.evaluations())
			r, _ := counting(time.Now().Unix())
			fresh := decoded(t, appendResult(nil, r))
			frames := map[string]*byte{}
			for _, v := range viewers {
				for len(v.queue) > 0 {
					m := (<-v.queue)()
					if first := frames[string(m)]; first != nil {
						require.Same(t, first, &m[0], "encoded once")
					}
					frames[string(m)] = &m[0]
					event, data, _ := strings.Cut(strings.TrimSuffix(string(m), "\n\n"), "\ndata: ")
					if event == "event: full" {
						require.Nil(t, have[v], "once each")
						have[v] = decoded(t, []byte(data))
						continue
					}
					require.Equal(t, "event: delta", event)
					require.Less(t, len(data), 400)
					have[v] = apply(t, have[v], decoded(t, []byte(data)))
				}
				require.Equal(t, fresh, have[v])
			}
		}
		n, topics := s.counts()
		require.Equal(t, []int{500, 1}, []int{n, topics})
		for _, v := range viewers {
			s.leave(v)
		}
		n, topics = s.counts()
		require.Equal(t, []int{0, 0}, []int{n, topics})
		time.Sleep(time.Minute)
		require.Equal(t, 6, s.evaluations(), "nobody looks")
		s.close(context.Background())
	})
}

func TestNothingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := counting(1000)
		s := newStreamed(func(int64) (*query.Result, error) { return r, nil })
		moving, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, moving.waiting(), 1)
		require.Equal(t, 11, s.evaluations(), "something may come")
		s.leave(moving)

		// A past that is sealed is looked at once a minute, and when somebody comes.
		r.SealedUntil = r.To
		sealed := param("metric", "m", "from", "941", "to", "1001")
		v, err := s.join(sealed, nothingToAbort)
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, 13, s.evaluations(), "at first, and a second later, as somebody came")
		require.Len(t, v.waiting(), 1)
		amended, _ := counting(1000)
		amended.Series[0].Values[58], amended.SealedUntil = 5, amended.To
		s.mu.Lock()
		s.answer = func(int64) (*query.Result, error) { return amended, nil }
		s.mu.Unlock()
		w, err := s.join(sealed, nothingToAbort)
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Contains(t, v.waiting()[0], `"since":58,"values":[5,1000]`)
		require.Len(t, w.waiting(), 2)
		left := make(chan struct{})
		go func() { // as clients' goroutines do, once their queues end
			for range v.queue {
			}
			s.leave(v)
			for range w.queue {
			}
			s.leave(w)
			close(left)
		}()
		s.close(context.Background())
		<-left
	})
}

func TestErrorsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := map[int64]string{} // by second
		begin := time.Now().Unix()
		s := newStreamed(func(now int64) (*query.Result, error) {
			switch text := fails[now-begin]; text {
			case "":
				r, _ := counting(begin)
				return r, nil
			case "panic":
				panic(text)
			default:
				return nil, errors.New(text)
			}
		})
		fails[0], fails[1], fails[3], fails[7] = "a", "a", "a", "panic" // pauses grow: 1, 2, 4
		v, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"event: error\ndata: {\"error\":\"a\"}"}, v.waiting())
		w, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		require.Equal(t, []string{"event: error\ndata: {\"error\":\"a\"}"}, w.waiting(), "who comes later is told")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Empty(t, v.waiting(), "once")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Contains(t, v.waiting()[0], "BUG: the evaluation of a stream panicked")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		got := v.waiting()
		require.Len(t, got, 1)
		require.Contains(t, got[0], "event: full")
		s.mu.Lock()
		fails[time.Now().Unix()-begin+1] = "b"
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got = v.waiting()
		require.Len(t, got, 2)
		require.Contains(t, got[0], "event: error")
		require.Contains(t, got[1], "event: delta", "it is over, though nothing changed")
		s.leave(v)
		s.leave(w)
		s.close(context.Background())
	})
}

// TestSlowViewersAreDropped: others are not held up by them, and nothing piles up.
func TestSlowViewersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreamed(counting)
		aborted := 0
		slow, err := s.join(param("metric", "m"), func() { aborted++ })
		require.NoError(t, err)
		quick, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		for range 20 {
			synctest.Wait()
			require.Len(t, quick.waiting(), 1)
			require.LessOrEqual(t, len(slow.queue), queued)
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, aborted)
		got := slow.waiting()
		require.Equal(t, "end", got[queued])
		s.leave(slow)
		viewers, topics := s.counts()
		require.Equal(t, []int{1, 1}, []int{viewers, topics})
		s.leave(quick)
		s.close(context.Background())
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreamed(counting)
		var viewers []*viewer
		for i := range maxTopics {
			v, err := s.join(param("metric", fmt.Sprint(i)), nothingToAbort)
			require.NoError(t, err)
			viewers = append(viewers, v)
		}
		_, err := s.join(param("metric", "one more"), nothingToAbort)
		require.ErrorContains(t, err, "200 different queries are streamed")
		for len(viewers) < maxViewers {
			v, err := s.join(param("metric", "7"), nothingToAbort)
			require.NoError(t, err)
			viewers = append(viewers, v)
		}
		_, err = s.join(param("metric", "7"), nothingToAbort)
		require.ErrorContains(t, err, "1000 streams are open")
		s.leave(viewers[0])
		v, err := s.join(param("metric", "one more"), nothingToAbort)
		require.NoError(t, err)
		viewers[0] = v
		over, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.close(over)
		require.Error(t, over.Err(), "viewers are still there")
		for _, v := range viewers {
			s.leave(v)
		}
		s.close(context.Background())
		_, err = s.join(param("metric", "7"), nothingToAbort)
		require.ErrorIs(t, err, errStopping)
	})
}

func TestTooLargeForAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &query.Result{Kind: metric.Counter, Tier: metric.Tier1s, Grid: query.EvenGrid(0, maxStreamPoints/2+1, 1), Series: make([]query.Series, 2)}
		s := newStreamed(func(int64) (*query.Result, error) { return r, nil })
		v, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, v.waiting()[0], "more than 100000 points")
		s.leave(v)
		s.close(context.Background())
	})
}

func TestSlowEvaluationsLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreamed(func(now int64) (*query.Result, error) {
			time.Sleep(2500 * time.Millisecond)
			return counting(now)
		})
		v, err := s.join(param("metric", "m"), nothingToAbort)
		require.NoError(t, err)
		for range 59 {
			time.Sleep(time.Second)
			v.waiting()
		}
		require.Equal(t, 10, s.evaluations(), "half of the time: every 6 s, as it begins at a full one")
		go s.leave(v)
		s.close(context.Background())
	})
}

func TestKeysOfParameters(t *testing.T) {
	same := [][2]parameters{
		{param("metric", "m"), param("metric", "m", "from", "-1h", "to", "now", "step", "auto", "limit", "100", "fn", "")},
		{param("metric", "m", "from", "now-5m"), param("from", "-5m", "metric", "m")},
		{param("metric", "m", "filter", "b:1", "filter", "a:1"), param("metric", "m", "filter", "a:1", "filter", "b:1", "filter", "a:1")},
		{param("metric", "m", "a.by", "x,y"), param("metric", "m", "a.by", "y", "a.by", "x")},
	}
	for _, c := range same {
		require.Equal(t, c[0].key(), c[1].key())
	}
	other := []parameters{
		param("metric", "m"), param("metric", "m", "by", "a"), param("metric", "m", "by", "a,b"), param("metric", "m", "by", "a", "without", "b"), param("metric", "m", "filter", "a:1,b"),
		param("metric", "m", "filter", "a:1", "filter", "b"), param("metric", "m", "to", "-1h"), param("metric", "m", "from", "5m"), param("metric", "m", "from", "-5m"),
		param("metric", "m", "by", "a", "a.by", ""), param("metric", "m&by=a"), param("metric", "m", "limit", "10"), param("metric", "m", "x.limit", "100"), param("metric", "M"),
	}
	keys := map[string]bool{}
	for _, p := range other {
		keys[p.key()] = true
	}
	require.Len(t, keys, len(other))
	for text, moves := range map[string]bool{"": true, "now": true, "now-1h": true, "-1h": true, "1000": false, "2026-01-02T15:04:05Z": false} {
		require.Equal(t, moves, param("from", "1", "to", text).moves(), text)
		require.Equal(t, moves, param("from", text, "to", "2").moves(), text)
	}
}
