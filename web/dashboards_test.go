package web

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/dashboard"
	"cairn/internal/metric"
	"cairn/query"
)

// held is one dashboard in memory.
func held(asked *int) *Dashboards {
	head := DashboardHead{"00ab", 3, 1000, "t"}
	text := []byte(`{"title":"t","panels":[]}`)
	find := func(id string) *ingest.Refusal {
		if id != head.ID {
			return &ingest.Refusal{Status: 404, Sentence: "there is no such dashboard"}
		}
		return nil
	}
	return &Dashboards{
		List:     func() []DashboardHead { return []DashboardHead{head} },
		Get:      func(id string, _ uint32) (DashboardHead, []byte, *ingest.Refusal) { return head, text, find(id) },
		Versions: func(id string) ([]DashboardHead, *ingest.Refusal) { return []DashboardHead{head}, find(id) },
		Create: func(string, []byte) (DashboardHead, *ingest.Refusal) {
			*asked++
			return head, nil
		},
		Save: func(id string, had uint32, _ string, _ []byte) (DashboardHead, *ingest.Refusal) {
			*asked++
			if had != head.Version {
				return head, &ingest.Refusal{Status: 409, Sentence: "somebody else has saved it"}
			}
			return head, find(id)
		},
		Delete: func(id string, had uint32) *ingest.Refusal {
			*asked++
			return find(id)
		},
	}
}

func sendBody(t *testing.T, s *Server, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.Addr()+target, strings.NewReader(body))
	require.NoError(t, err)
	req.Close = true
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

// TestDashboardRoutes: each route takes its methods only, what is wrong gets a sentence, and
// nothing that is wrong gets further.
func TestDashboardRoutes(t *testing.T) {
	asked := 0
	s := startWith(t, Options{Dashboards: held(&asked)})
	json := []string{"Content-Type", "application/json"}
	with := func(header ...string) []string { return append(append([]string{}, json...), header...) }
	const all, one, good = "/api/dashboards", "/api/dashboards/00ab", `{"title":"t"}`
	for _, c := range []struct {
		method, target, body string
		header               []string
		code                 int
		answer               string
	}{
		{"GET", all, "", nil, 200, `{"dashboards":[{"id":"00ab","version":3,"updated":1000,"title":"t"}]}`},
		{"GET", one, "", nil, 200, `{"id":"00ab","version":3,"updated":1000,"title":"t","panels":[]}`},
		{"GET", one + "/versions", "", nil, 200, `{"versions":[{`}, {"GET", one + "/versions/3", "", nil, 200, `"panels":[]`},
		{"HEAD", one, "", nil, 200, ""}, {"GET", all + "/", "", nil, 404, "no such dashboard"}, {"GET", all + "/x", "", nil, 404, "no such dashboard"},
		{"GET", one + "/versions/0", "", nil, 404, "is no version"}, {"GET", one + "/versions/-1", "", nil, 404, "is no version"},
		{"GET", one + "/versions/99999999999", "", nil, 404, "is no version"}, {"GET", one + "/other", "", nil, 404, "/api/dashboards"},
		{"GET", one + "/versions/3/restore/x", "", nil, 404, "/api/dashboards"}, {"GET", all + "x", "", nil, 404, "/api/dashboards"},
		{"PUT", all, good, json, 405, "takes GET, POST only"}, {"POST", one, good, json, 405, "takes GET, PUT, DELETE only"}, {"POST", one + "/versions", good, json, 405, "takes GET only"},
		{"DELETE", one + "/versions/3", "", json, 405, "takes GET only"}, {"GET", one + "/versions/3/restore", "", nil, 405, "takes POST only"},
		{"POST", all, good, nil, 415, "Content-Type"}, {"POST", all, good, []string{"Content-Type", "text/plain"}, 415, "Content-Type"},
		{"PUT", one, good, []string{"If-Match", "3"}, 415, "Content-Type"}, {"DELETE", one, "", nil, 415, "Content-Type"}, {"POST", one + "/versions/3/restore", "", nil, 415, "Content-Type"},
		{"POST", all, good, with("Origin", "http://elsewhere.example"), 403, "not this server's"}, {"PUT", one, good, with("Origin", "null"), 403, "not this server's"},
		{"DELETE", one, "", with("Origin", "null"), 403, "not this server's"}, {"POST", one + "/versions/3/restore", `{"version":3}`, with("Origin", "null"), 403, "not this server's"},
		{"POST", all, `{"title":"t","panels":[{"x":NaN}]}`, json, 400, "is not JSON"}, {"POST", all, strings.Repeat("[", 200_000), json, 400, "is not JSON"},
		{"POST", all, `{"title":"t","panels":[{"x":-1}]}`, json, 400, `"param":"panels[0].x"`}, {"POST", all, `{"title":"<&"` + strings.Repeat(" ", dashboard.MaxBytes), json, 413, "larger than"},
		{"PUT", one, good, json, 428, "say which version"}, {"PUT", one, good, with("If-Match", "*"), 400, "If-Match"}, {"PUT", one, good, with("If-Match", "0"), 400, "If-Match"},
		{"PUT", one, `{"title":"t","version":2}`, with("If-Match", "3"), 400, "If-Match says version 3, and the body version 2"},
		{"PUT", one, `{"title":"t","id":"00ac","version":3}`, json, 400, `"param":"id"`},
		{"POST", one + "/versions/3/restore", `{"version":"3"}`, json, 400, "the body is not"}, {"POST", one + "/versions/3/restore", `{"version":3}{}`, json, 400, "the body is not"},
		{"POST", one + "/versions/3/restore", ``, json, 428, "say which version"}, {"DELETE", one, "", with("If-Match", "x"), 400, "If-Match"},
	} {
		resp, answer := sendBody(t, s, c.method, c.target, c.body, c.header...)
		require.Equal(t, c.code, resp.StatusCode, "%s %s %.50s: %s", c.method, c.target, c.body, answer)
		require.Contains(t, answer, c.answer, "%s %s %.50s", c.method, c.target, c.body)
		require.Equal(t, csp, resp.Header.Get("Content-Security-Policy"))
		if c.code == 200 {
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		}
	}
	require.Zero(t, asked)
	resp, _ := sendBody(t, s, "GET", one, "")
	require.Equal(t, `"3"`, resp.Header.Get("ETag"))
	resp, _ = sendBody(t, s, "POST", all, good, json...)
	require.Equal(t, 201, resp.StatusCode)
	require.Equal(t, one, resp.Header.Get("Location"))
	for _, c := range []struct {
		method, target, body string
		header               []string
		code                 int
	}{
		{"PUT", one, good, with("If-Match", `"3"`), 200}, {"PUT", one, `{"title":"t","id":"00ab","version":3,"updated":9}`, json, 200}, {"PUT", one, good, with("If-Match", "2"), 409},
		{"POST", one + "/versions/1/restore", `{"version":3}`, json, 200}, {"POST", one + "/versions/1/restore", "", with("If-Match", "3"), 200},
		{"DELETE", one, "", json, 204}, {"DELETE", one, "", with("If-Match", "3", "Origin", "http://"+s.Addr()), 204}, {"DELETE", all + "/x", "", json, 404},
	} {
		resp, answer := sendBody(t, s, c.method, c.target, c.body, c.header...)
		require.Equal(t, c.code, resp.StatusCode, "%s %s: %s", c.method, c.target, answer)
	}
	require.Equal(t, 9, asked)
	resp, _ = ask(t, startWith(t, Options{}), "GET", all)
	require.Equal(t, 404, resp.StatusCode)
}

// TestMetaRoute: nothing that is wrong gets as far as the store.
func TestMetaRoute(t *testing.T) {
	var got []string
	id := metric.ID{Name: "m", Kind: metric.Counter}
	s := startWith(t, Options{
		Executor: &query.Executor{Acquire: noView},
		Catalog: &Catalog{Describe: func(id metric.ID, d Described) *ingest.Refusal {
			got = append(got, fmt.Sprint(id, d))
			return nil
		}},
	})
	const target, good = "/api/metrics/meta?metric=m", `{"description":"d","unit":"u"}`
	json := []string{"Content-Type", "application/json"}
	for _, c := range []struct {
		method, target, body string
		header               []string
		code                 int
		answer               string
	}{
		{"GET", target, "", nil, 405, "takes PUT only"}, {"POST", "/api/metrics/cardinality?metric=m", good, json, 405, "takes GET only"}, {"PUT", target, good, nil, 415, "Content-Type"},
		{"PUT", target, good, append([]string{"Origin", "null"}, json...), 403, "not this server's"}, {"PUT", target, "", json, 400, "the body is not"},
		{"PUT", target, `{"description":"d"}`, json, 400, "the body is not"}, {"PUT", target, `{"description":"d","unit":"u","x":1}`, json, 400, "the body is not"},
		{"PUT", target, `{"description":"d","unit":null}`, json, 400, "the body is not"}, {"PUT", target, good + good, json, 400, "the body is not"},
		{"PUT", target, "{\"description\":\"\xff\",\"unit\":\"u\"}", json, 400, "the body is not"}, {"PUT", target, `{"description":"d","unit":"a\u0000"}`, json, 400, "control character"},
		{"PUT", target, `{"description":"` + strings.Repeat("x", maxDescription+1) + `","unit":"u"}`, json, 400, "1001 bytes"}, {"PUT", target, `{"description":"d","unit":"` + strings.Repeat("x", maxUnit+1) + `"}`, json, 400, `"param":"unit"`},
		{"PUT", target, strings.Repeat("[", bodyBytes+1), json, 413, "larger than"}, {"PUT", "/api/metrics/meta", good, json, 400, `"param":"metric"`},
		{"PUT", target + "&kind=x", good, json, 400, `"param":"kind"`}, {"PUT", target, good, json, 503, "counting goes on"}, {"GET", "/api/metrics/cardinality", "", nil, 400, `"param":"metric"`},
	} {
		resp, answer := sendBody(t, s, c.method, c.target, c.body, c.header...)
		require.Equal(t, c.code, resp.StatusCode, "%s %s %.50s: %s", c.method, c.target, c.body, answer)
		require.Contains(t, answer, c.answer)
	}
	require.Empty(t, got, id)
}
