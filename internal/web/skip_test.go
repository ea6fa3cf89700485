package web

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// counted is a body that says how often it was read and how much is left.
type counted struct {
	left, reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	n := min(len(p), c.left)
	c.left -= n
	if c.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (*counted) Close() error { return nil }

func refused(w http.ResponseWriter, _ *http.Request) {
	NewProblem(http.StatusServiceUnavailable, "").Write(w)
}

func TestTheBodyOfARefusedRequestIsReadInLargePieces(t *testing.T) {
	refuse := skipping(http.HandlerFunc(refused))
	for _, c := range []struct {
		what   string
		length int64
		change func(*http.Request)
		reads  int
	}{
		{what: "a batch of 200 kB", length: 200 << 10, reads: 4},
		{what: "a short one is left to net/http", length: 1000},
		{what: "so is a long one, whose connection ends", length: mostSkipped + 1},
		{what: "and one of unknown length", length: -1},
		{what: "and one that does not come before it is asked for", length: 200 << 10, change: func(r *http.Request) { r.Header.Set("Expect", "100-continue") }},
		{what: "and that of a GET, whose connection may have become a WebSocket", length: 200 << 10, change: func(r *http.Request) { r.Method = http.MethodGet }},
		{what: "and one whose client ends the connection", length: 200 << 10, change: func(r *http.Request) { r.Close = true }},
		{what: "and a stream of HTTP/2, which can be ended alone", length: 200 << 10, change: func(r *http.Request) { r.ProtoMajor = 2 }},
	} {
		body := &counted{left: int(max(c.length, 1000))}
		r := httptest.NewRequest(http.MethodPost, "/v1/events", nil)
		r.Body, r.ContentLength = body, c.length
		if c.change != nil {
			c.change(r)
		}
		refuse.ServeHTTP(httptest.NewRecorder(), r)
		if body.reads != c.reads || c.reads > 0 && body.left > 0 {
			t.Errorf("%s: it was read %d times, not %d, and %d bytes are left", c.what, body.reads, c.reads, body.left)
		}
	}
}

func TestAConnectionGoesOnAfterARefusedBatch(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(skipping(http.HandlerFunc(refused)))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for range 5 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(make([]byte, 200<<10)))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(err, answer.Status)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("five refused requests took %d connections", n)
	}
}
