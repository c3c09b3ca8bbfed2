package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/netip"
	"net/url"
	"path/filepath"

	"github.com/valyala/fasthttp"
)

// backup answers when the backup is there, which may take long where it is copied to
// another disk. It ends early if the server stops, but not if the client goes away.
func (s *Server) backup(ctx *fasthttp.RequestCtx) {
	// A page of elsewhere can send a text to this server without asking it first, but not
	// this type.
	if !isJSON(ctx) {
		fail(ctx, fasthttp.StatusUnsupportedMediaType, `a backup is asked for with Content-Type: application/json and a body such as {"dir":"/backup/cairn"}`, "")
		return
	}
	if fromElsewhere(ctx) {
		fail(ctx, fasthttp.StatusForbidden, "a backup cannot be asked for by a page that is not this server's", "")
		return
	}
	b, ok := smallBody(ctx)
	if !ok {
		return
	}
	dir, err := backupDir(b)
	if err != nil {
		fail(ctx, fasthttp.StatusBadRequest, err.Error(), "dir")
		return
	}
	report, refusal := s.o.Backup(ctx, dir)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, report)
}

// isJSON reports whether a request says that its body is JSON.
func isJSON(ctx *fasthttp.RequestCtx) bool {
	kind, _, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	return err == nil && kind == "application/json"
}

// backupDir reads the body of a request.
func backupDir(b []byte) (string, error) {
	var q struct {
		Dir *string `json:"dir"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || q.Dir == nil {
		return "", errors.New(`the body is not what a backup takes, which is {"dir":"/backup/cairn"}`)
	}
	if _, err := d.Token(); err != io.EOF {
		return "", errors.New(`something stands behind the body, which is {"dir":"/backup/cairn"}`)
	}
	if !filepath.IsAbs(*q.Dir) {
		return "", errors.New("dir must be an absolute path on the server's machine")
	}
	return filepath.Clean(*q.Dir), nil
}

// fromElsewhere reports whether a page asks that is not this server's.
func fromElsewhere(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	origin := string(h.Peek("Origin"))
	return origin != "" && !sameOrigin(origin, string(h.Host()))
}

// sameOrigin reports whether a page at origin came from the server at host. A name other
// than localhost could have been made to lead here by whoever serves the page.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Host != host {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || u.Hostname() == "localhost"
}
