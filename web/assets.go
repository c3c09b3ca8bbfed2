package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"
)

//go:embed static/index.html static/app.css static/favicon.svg static/js/*.js static/vendor/*.js static/vendor/*.css
var static embed.FS

// types are those of the files that are served; another one is a mistake.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file, ready to be sent.
type asset struct {
	contentType string
	plain       []byte
	etag        string

	once   sync.Once
	packed []byte
}

// loadAssets returns all files by URL path.
func loadAssets() (map[string]*asset, error) {
	out := make(map[string]*asset)
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		a, err := newAsset(name)
		if err != nil {
			return fmt.Errorf("asset %s: %w", name, err)
		}
		out[name[len("static"):]] = a
		return nil
	})
	out["/"] = out["/index.html"]
	return out, err
}

func newAsset(name string) (*asset, error) {
	a := &asset{contentType: types[path.Ext(name)]}
	if a.contentType == "" {
		return nil, fmt.Errorf("no content type for %q", path.Ext(name))
	}
	var err error
	if a.plain, err = static.ReadFile(name); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(a.plain)
	a.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return a, nil
}

// gzip returns the file compressed, which is done when it is first asked for: a server
// whose page nobody opens need not wait for it.
func (a *asset) gzip() []byte {
	a.once.Do(func() {
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
		if err == nil {
			_, err = w.Write(a.plain)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(fmt.Sprintf("BUG: memory cannot be compressed into memory: %v", err))
		}
		a.packed = z.Bytes()
	})
	return a.packed
}

func (a *asset) serve(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	// The browser asks each time whether its copy is still good: a new version
	// of the binary shows at once.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	h.Set("Vary", "Accept-Encoding")
	if string(ctx.Request.Header.Peek("If-None-Match")) == a.etag {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	ctx.SetContentType(a.contentType)
	if ctx.Request.Header.HasAcceptEncoding("gzip") {
		h.Set("Content-Encoding", "gzip")
		ctx.Response.SetBodyRaw(a.gzip())
		return
	}
	ctx.Response.SetBodyRaw(a.plain)
}
