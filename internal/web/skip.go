package web

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

const (
	// mostSkipped is how much of a body net/http reads for nothing so that its connection can go on.
	mostSkipped = 256 << 10
	// skippedAtOnce is eight times what net/http reads at a time: a server that refuses most of what is sent does little else.
	skippedAtOnce = 64 << 10
	// mostSkippers bounds the memory that bodies can occupy which don't come, or slowly.
	mostSkippers = 256
)

// skipper reads the bodies that handlers did not: those of requests that were refused. Its zero value is good.
type skipper struct {
	busy atomic.Int32
	free sync.Pool // *[skippedAtOnce]byte
}

// skipping is a handler that reads what the next one has left of a request's body. It leaves to net/http what is short, what is too much
// at a time, and bodies for which net/http would rather end the connection: long ones, of unknown length, those that don't come before
// they are asked for, and where the client ends it anyway. A GET has none that counts, and its connection may be somebody else's by now.
func skipping(next http.Handler) http.Handler {
	var s skipper
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if r.Method != http.MethodGet && r.ContentLength >= skippedAtOnce/8 && r.ContentLength <= mostSkipped && r.ProtoMajor == 1 && r.ProtoMinor == 1 && !r.Close && r.Header.Get("Expect") == "" {
			s.skip(r.Body)
		}
	})
}

// skip reads to the end.
func (s *skipper) skip(body io.Reader) {
	defer s.busy.Add(-1)
	if s.busy.Add(1) > mostSkippers {
		return
	}
	buf, ok := s.free.Get().(*[skippedAtOnce]byte)
	if !ok {
		buf = new([skippedAtOnce]byte)
	}
	for {
		if _, err := body.Read(buf[:]); err != nil {
			break
		}
	}
	s.free.Put(buf)
}
