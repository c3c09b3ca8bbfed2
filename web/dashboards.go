package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cairn/ingest"
	"cairn/internal/dashboard"
)

// Dashboards is where dashboards are kept. A number that is 0 stands for the newest version.
type Dashboards struct {
	List     func() []DashboardHead
	Get      func(id string, version uint32) (DashboardHead, []byte, *ingest.Refusal)
	Versions func(id string) ([]DashboardHead, *ingest.Refusal) // the newest first
	Create   func(title string, text []byte) (DashboardHead, *ingest.Refusal)
	// Save keeps a new version if had is the newest, and is refused with 409 if it is not.
	Save   func(id string, had uint32, title string, text []byte) (DashboardHead, *ingest.Refusal)
	Delete func(id string, had uint32) *ingest.Refusal
}

// DashboardHead is what is known of a version of a dashboard beside its text.
type DashboardHead struct {
	ID      string `json:"id"`
	Version uint32 `json:"version"`
	Updated int64  `json:"updated"` // Unix seconds
	Title   string `json:"title"`
}

const dashboardsPath = "/api/dashboards"

// dashboards answers where path is one of dashboards:
//
//	/api/dashboards                            GET, POST
//	/api/dashboards/{id}                       GET, PUT, DELETE
//	/api/dashboards/{id}/versions              GET
//	/api/dashboards/{id}/versions/{n}          GET
//	/api/dashboards/{id}/versions/{n}/restore  POST
func (s *Server) dashboards(ctx *fasthttp.RequestCtx, path string) bool {
	rest, ok := strings.CutPrefix(path, dashboardsPath)
	if !ok || s.o.Dashboards == nil || rest != "" && rest[0] != '/' {
		return false
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if rest == "" {
		s.allDashboards(ctx)
		return true
	}
	id, rest, _ := strings.Cut(rest[1:], "/")
	if rest == "" {
		s.oneDashboard(ctx, id)
		return true
	}
	part, rest, _ := strings.Cut(rest, "/")
	number, verb, _ := strings.Cut(rest, "/")
	switch {
	case part != "versions" || verb != "" && verb != "restore":
		return false
	case number == "" && verb == "":
		if s.allow(ctx, fasthttp.MethodGet) {
			s.dashboardVersions(ctx, id)
		}
		return true
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 {
		fail(ctx, fasthttp.StatusNotFound, fmt.Sprintf("%q is no version; they are numbers from 1 on", number), "")
		return true
	}
	switch {
	case verb == "restore" && s.allow(ctx, fasthttp.MethodPost):
		s.restoreDashboard(ctx, id, uint32(n))
	case verb == "" && s.allow(ctx, fasthttp.MethodGet):
		head, text, refusal := s.o.Dashboards.Get(id, uint32(n))
		answerDashboard(ctx, head, text, refusal)
	}
	return true
}

func (s *Server) allDashboards(ctx *fasthttp.RequestCtx) {
	switch {
	case string(ctx.Method()) == fasthttp.MethodPost:
		s.createDashboard(ctx)
	case s.allowOf(ctx, fasthttp.MethodGet, fasthttp.MethodPost):
		writeJSON(ctx, struct {
			Dashboards []DashboardHead `json:"dashboards"`
		}{s.o.Dashboards.List()})
	}
}

func (s *Server) oneDashboard(ctx *fasthttp.RequestCtx, id string) {
	if !s.allowOf(ctx, fasthttp.MethodGet, fasthttp.MethodPut, fasthttp.MethodDelete) {
		return
	}
	switch string(ctx.Method()) {
	case fasthttp.MethodPut:
		s.saveDashboard(ctx, id)
	case fasthttp.MethodDelete:
		s.deleteDashboard(ctx, id)
	default:
		head, text, refusal := s.o.Dashboards.Get(id, 0)
		answerDashboard(ctx, head, text, refusal)
	}
}

func (s *Server) dashboardVersions(ctx *fasthttp.RequestCtx, id string) {
	list, refusal := s.o.Dashboards.Versions(id)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, struct {
		Versions []DashboardHead `json:"versions"`
	}{list})
}

func (s *Server) createDashboard(ctx *fasthttp.RequestCtx) {
	d := s.sentDashboard(ctx)
	if d == nil {
		return
	}
	text := mustJSON(d)
	head, refusal := s.o.Dashboards.Create(d.Title, text)
	answerDashboard(ctx, head, text, refusal)
	if refusal == nil {
		ctx.SetStatusCode(fasthttp.StatusCreated)
		ctx.Response.Header.Set("Location", dashboardsPath+"/"+head.ID)
	}
}

func (s *Server) saveDashboard(ctx *fasthttp.RequestCtx, id string) {
	d := s.sentDashboard(ctx)
	if d == nil {
		return
	}
	if d.ID != "" && d.ID != id {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("the id in the body is %q and that in the path %q; leave the one in the body out to save it as another", d.ID, id), "id")
		return
	}
	had, ok := changedVersion(ctx, d.Version)
	if !ok {
		return
	}
	text := mustJSON(d)
	head, refusal := s.o.Dashboards.Save(id, had, d.Title, text)
	answerDashboard(ctx, head, text, refusal)
}

// restoreDashboard saves what an older version held as a new one.
func (s *Server) restoreDashboard(ctx *fasthttp.RequestCtx, id string, version uint32) {
	if !mayChange(ctx) {
		return
	}
	b, ok := smallBody(ctx)
	if !ok {
		return
	}
	var q struct {
		Version uint32 `json:"version"`
	}
	if len(b) > 0 {
		if err := onlyJSON(b, &q); err != nil {
			fail(ctx, fasthttp.StatusBadRequest, `the body is not what this takes, which is the newest version that you know of, as {"version":7}`, "version")
			return
		}
	}
	had, ok := changedVersion(ctx, q.Version)
	if !ok {
		return
	}
	old, text, refusal := s.o.Dashboards.Get(id, version)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	head, refusal := s.o.Dashboards.Save(id, had, old.Title, text)
	answerDashboard(ctx, head, text, refusal)
}

func (s *Server) deleteDashboard(ctx *fasthttp.RequestCtx, id string) {
	if !mayChange(ctx) {
		return
	}
	had := uint32(0)
	if len(ctx.Request.Header.Peek("If-Match")) > 0 {
		var ok bool
		if had, ok = changedVersion(ctx, 0); !ok {
			return
		}
	}
	if refusal := s.o.Dashboards.Delete(id, had); refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// answerDashboard answers with a dashboard as it can be sent again.
func answerDashboard(ctx *fasthttp.RequestCtx, h DashboardHead, text []byte, refusal *ingest.Refusal) {
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	ctx.Response.Header.Set("ETag", fmt.Sprintf(`"%d"`, h.Version))
	ctx.SetContentType("application/json")
	b := appendString([]byte(`{"id":`), h.ID)
	b = fmt.Appendf(b, `,"version":%d,"updated":%d,`, h.Version, h.Updated)
	ctx.SetBody(append(append(b, bytes.TrimPrefix(text, []byte("{"))...), '\n'))
}

// sentDashboard reads and checks the one in the body; nil: it has answered what is wrong.
func (s *Server) sentDashboard(ctx *fasthttp.RequestCtx) (d *dashboard.Document) {
	if !mayChange(ctx) {
		return nil
	}
	b, ok := bodyUpTo(ctx, dashboard.MaxBytes)
	if !ok {
		return nil
	}
	// Its queries may have thousands of regular expressions: that costs as much as a query.
	var problem *dashboard.Problem
	err := s.turn(ctx, string(ctx.Path()), func(context.Context) (err error) {
		if d, err = dashboard.Parse(b, s.o.Clock.Now()); errors.As(err, &problem) {
			err = nil
		}
		return err
	})
	switch {
	case err != nil:
		s.failQuery(ctx, err)
		return nil
	case problem != nil:
		fail(ctx, fasthttp.StatusBadRequest, problem.Sentence, problem.Path)
		return nil
	}
	return d
}

func mustJSON(d *dashboard.Document) []byte {
	b, err := d.JSON()
	if err != nil {
		panic(fmt.Sprintf("BUG: a dashboard that is not JSON: %v", err))
	}
	return b
}

// changedVersion returns which version the client has changed, as If-Match or the body says.
func changedVersion(ctx *fasthttp.RequestCtx, inBody uint32) (uint32, bool) {
	header := string(ctx.Request.Header.Peek("If-Match"))
	if header == "" {
		if inBody == 0 {
			fail(ctx, fasthttp.StatusPreconditionRequired, `say which version you have changed, as "version" in the body or in If-Match, so that nobody's work is lost`, "version")
		}
		return inBody, inBody != 0
	}
	n, err := strconv.ParseUint(strings.Trim(header, `"`), 10, 32)
	if err != nil || n == 0 || n > math.MaxInt32 {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf(`If-Match is %q; it must be the version that you have changed, such as "7"`, header), "version")
		return 0, false
	}
	if inBody != 0 && uint64(inBody) != n {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("If-Match says version %d, and the body version %d", n, inBody), "version")
		return 0, false
	}
	return uint32(n), true
}

// mayChange refuses what a page of elsewhere can send: it can send a text without asking this
// server first, but not this type.
func mayChange(ctx *fasthttp.RequestCtx) bool {
	if !isJSON(ctx) {
		fail(ctx, fasthttp.StatusUnsupportedMediaType, "what changes something is sent with Content-Type: application/json", "")
		return false
	}
	if fromElsewhere(ctx) {
		fail(ctx, fasthttp.StatusForbidden, "nothing is changed for a page that is not this server's", "")
		return false
	}
	return true
}

// onlyJSON reads one JSON value without fields that to does not have.
func onlyJSON(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something stands behind it")
	}
	return nil
}
