package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const page = `<!doctype html><title>PulseStream</title><script type="module" src="/assets/index-abc123.js"></script>`

func built(t *testing.T) http.Handler {
	t.Helper()
	h, err := newHandler(fstest.MapFS{
		".gitkeep":               {Data: nil},
		"index.html":             {Data: []byte(page)},
		"theme.js":               {Data: []byte("document.title")},
		"favicon.svg":            {Data: []byte("<svg/>")},
		"assets/index-abc123.js": {Data: []byte(strings.Repeat("console.log('pulse');\n", 200))},
		"assets/style-def456.css": {
			Data: []byte(strings.Repeat("body { margin: 0 }\n", 100)),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPathsAreAnsweredWithTypeAndCaching(t *testing.T) {
	h := built(t)
	const forever = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		path, contentType, cache string
		status                   int
	}{
		{"/", "text/html; charset=utf-8", "no-cache", 200},
		{"/app", "text/html; charset=utf-8", "no-cache", 200},
		{"/app/incidents/inc_1", "text/html; charset=utf-8", "no-cache", 200},
		{"/app/metrics", "text/html; charset=utf-8", "no-cache", 200},
		{"/assets/index-abc123.js", "text/javascript; charset=utf-8", forever, 200},
		{"/assets/style-def456.css", "text/css; charset=utf-8", forever, 200},
		{"/theme.js", "text/javascript; charset=utf-8", "no-cache", 200},
		{"/favicon.svg", "image/svg+xml", "no-cache", 200},
		{"/index.html", "text/plain; charset=utf-8", "", 404},
		{"/assets/index-old.js", "text/plain; charset=utf-8", "", 404},
		{"/assets/", "text/plain; charset=utf-8", "", 404},
		{"/.gitkeep", "text/plain; charset=utf-8", "", 404},
		{"/application", "text/plain; charset=utf-8", "", 404},
		{"/v1/nothing", "text/plain; charset=utf-8", "", 404},
		{"/app/../theme.js", "text/html; charset=utf-8", "no-cache", 200},
	} {
		res := get(t, h, "GET", c.path)
		if res.StatusCode != c.status || res.Header.Get("Content-Type") != c.contentType || res.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: got %d %q %q, want %d %q %q", c.path, res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"),
				c.status, c.contentType, c.cache)
		}
	}
}

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	h := built(t)
	for _, path := range []string{"/", "/app/rules", "/assets/index-abc123.js", "/missing"} {
		header := get(t, h, "GET", path).Header
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q allows something unsafe", path, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestEntityTagOfAnUnchangedFileAnswers304WithoutABody(t *testing.T) {
	h := built(t)
	for _, encoding := range []string{"", "gzip"} {
		first := get(t, h, "GET", "/assets/index-abc123.js", "Accept-Encoding", encoding)
		etag := first.Header.Get("ETag")
		for _, header := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			again := get(t, h, "GET", "/assets/index-abc123.js", "Accept-Encoding", encoding, "If-None-Match", header)
			if again.StatusCode != http.StatusNotModified || body(t, again) != "" || again.Header.Get("ETag") != etag {
				t.Errorf("If-None-Match %s: got %d, ETag %s", header, again.StatusCode, again.Header.Get("ETag"))
			}
		}
		if changed := get(t, h, "GET", "/assets/index-abc123.js", "If-None-Match", `"other"`); changed.StatusCode != http.StatusOK {
			t.Errorf("another tag: got %d, want 200", changed.StatusCode)
		}
	}
}

func TestLargeTextIsCompressedForThoseWhoAcceptIt(t *testing.T) {
	h := built(t)
	plain := get(t, h, "GET", "/assets/index-abc123.js")
	zipped := get(t, h, "GET", "/assets/index-abc123.js", "Accept-Encoding", "br, gzip;q=0.5")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encodings %q and %q", plain.Header.Get("Content-Encoding"), zipped.Header.Get("Content-Encoding"))
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("both representations have the same entity tag")
	}
	if plain.Header.Get("Vary") != "Accept-Encoding" || zipped.Header.Get("Vary") != "Accept-Encoding" {
		t.Error("caches are not told that the answer varies")
	}
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := body(t, plain); !bytes.Equal(unzipped, []byte(want)) {
		t.Error("the compressed file differs")
	}
	if small := get(t, h, "GET", "/favicon.svg", "Accept-Encoding", "gzip"); small.Header.Get("Content-Encoding") != "" {
		t.Error("a file that does not shrink was compressed")
	}
}

func TestAcceptEncodingIsReadByTheStandard(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br": false, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=1": true,
		"*": true, "*;q=0": false, "gzip;q=0, *": false, "*;q=0, gzip": true, "identity": false, "gzip;q=x": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

func TestHeadHasTheHeadersOfGetAndOtherMethodsAreRefused(t *testing.T) {
	h := built(t)
	head := get(t, h, "HEAD", "/")
	if head.StatusCode != http.StatusOK || body(t, head) != "" || head.ContentLength != int64(len(page)) {
		t.Errorf("HEAD: got %d with length %d, want 200 with %d", head.StatusCode, head.ContentLength, len(page))
	}
	post := get(t, h, "POST", "/")
	if post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: got %d, Allow %q", post.StatusCode, post.Header.Get("Allow"))
	}
}

func TestWithoutABuiltPageTheAnswerSaysHowToBuildIt(t *testing.T) {
	h, err := newHandler(fstest.MapFS{".gitkeep": {Data: nil}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/app/overview"} {
		res := get(t, h, "GET", path)
		if text := body(t, res); res.StatusCode != http.StatusOK || !strings.Contains(text, "make build") {
			t.Errorf("%s: got %d %q", path, res.StatusCode, text)
		}
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the stand-in may be cached: %q", path, res.Header.Get("Cache-Control"))
		}
	}
}

func TestTheEmbeddedHandlerServesAPageWithoutInlineScript(t *testing.T) {
	text := body(t, get(t, Handler(), "GET", "/"))
	if !strings.Contains(text, "PulseStream") {
		t.Fatalf("unexpected page: %q", text)
	}
	for _, part := range strings.Split(text, "<script")[1:] {
		tag, inline, _ := strings.Cut(part, ">")
		if !strings.Contains(tag, "src=") || !strings.HasPrefix(inline, "</script>") {
			t.Errorf("inline script: <script%s>", tag)
		}
	}
	if strings.Contains(text, "style=") || strings.Contains(text, "<style") {
		t.Error("inline style, which the policy refuses")
	}
}
