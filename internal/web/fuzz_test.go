package web_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pulsestream/pulsestream/internal/web"
)

// FuzzReadBody: whatever the encoding, no more comes out than the limit allows, and what is not compressed comes out as it is.
func FuzzReadBody(f *testing.F) {
	const limit = 1 << 16
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(bytes.Repeat([]byte("x"), 1000)); err != nil || z.Close() != nil {
		f.Fatal(err)
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", []byte("as it is"))
	f.Add("gzip", append(zipped.Bytes(), zipped.Bytes()...))
	f.Add("zstd", e.EncodeAll(bytes.Repeat([]byte("y"), limit), nil))
	f.Add("zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 1, 0, 0})
	f.Add("ZSTD ", []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, encoding string, sent []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(sent))
		r.Header.Set("Content-Encoding", encoding)
		asked := int64(0)
		got, err := web.ReadBody(httptest.NewRecorder(), r, nil, limit, func(n int64) error { asked = max(asked, n); return nil })
		if err != nil {
			if p := web.ProblemOf(err); p == nil || p.Status < 400 || p.Status > 415 || p.Detail == "" {
				t.Fatalf("%q of %x: %v", encoding, sent, err)
			}
			return
		}
		if len(got) > limit || int64(len(got)) > asked+512 {
			t.Fatalf("%d bytes came out of %d, asked was for %d", len(got), len(sent), asked)
		}
		if encoding == "" && !bytes.Equal(got, sent) {
			t.Fatalf("%x came out as %x", sent, got)
		}
	})
}

// FuzzMediaType: what is taken is a bare media type, and everything else is a 415.
func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"application/json", "application/json; charset=utf-8", "text/plain; charset=\"UTF-8\"; x=y", "application/json;", "a/b; charset=utf-16", ";", "application/x-ndjson;charset=utf8;charset=utf8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", s)
		media, err := web.MediaType(r, "application/json")
		if err != nil {
			if p := web.ProblemOf(err); p == nil || p.Status != http.StatusUnsupportedMediaType {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if media == "" || bytes.ContainsAny([]byte(media), "; \t\r\n") {
			t.Fatalf("%q is %q", s, media)
		}
	})
}
