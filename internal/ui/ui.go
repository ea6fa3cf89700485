package ui

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

// dist holds at least the placeholder .gitkeep, so the package also builds in a checkout in which the page was never built.
//
//go:embed all:dist
var dist embed.FS

// The page runs its own script and style files, talks to its own origin and nothing else. Trusted types leave the framework's
// template parser as the only place where text can become markup.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"

// unbuilt is what a binary without the page says instead.
const unbuilt = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>PulseStream</title></head>
<body>
<h1>PulseStream is running</h1>
<p>This binary was built without its web page. Build both with <code>make build</code>, or the page alone with
<code>npm ci &amp;&amp; npm run build</code> in <code>web/</code>, and then the binary again.</p>
<p>The API does not need the page: see <a href="/docs">/docs</a>.</p>
</body>
</html>
`

// Handler serves the embedded page at / and /app/, its files, and 404 for everything else.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err == nil {
		var h http.Handler
		if h, err = newHandler(files); err == nil {
			return h
		}
	}
	// What was embedded can be read; anything else is a binary that was damaged after it was linked.
	panic(fmt.Sprintf("ui: read the embedded page: %v", err))
}

type handler struct {
	assets map[string]asset
	index  asset
}

func newHandler(files fs.FS) (http.Handler, error) {
	assets, err := load(files)
	if err != nil {
		return nil, err
	}
	index, built := assets["/index.html"]
	if !built {
		index = newAsset("index.html", []byte(unbuilt))
		index.cacheControl = "no-store"
	}
	// The page has one address; a second one would be cached and counted twice.
	delete(assets, "/index.html")
	return &handler{assets: assets, index: index}, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	a, found := h.find(r.URL.Path)
	if !found {
		http.Error(w, "There is nothing here. The page is at /, the API's description at /docs.", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET and HEAD are possible here.", http.StatusMethodNotAllowed)
		return
	}
	a.serve(w, r)
}

func (h *handler) find(path string) (asset, bool) {
	if path == "/" || path == "/app" || strings.HasPrefix(path, "/app/") {
		return h.index, true
	}
	a, found := h.assets[path]
	return a, found
}

func secure(header http.Header) {
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	body, etag := a.body, a.etag
	if a.zipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			body, etag = a.zipped, a.zippedETag
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("Cache-Control", a.cacheControl)
	header.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", a.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		// The client has gone away when this fails; there is nobody left to tell.
		_, _ = w.Write(body)
	}
}
