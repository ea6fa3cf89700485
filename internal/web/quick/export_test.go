package quick

import (
	"net/http"
	"time"
)

// Patience sets how long the rest of a request may take. It is called before the first Accept.
func (l *Listener) Patience(d time.Duration) { l.patience = d }

// Head is what a request's bytes are understood as; ok says that it is one for this package, and end where the next begins.
func Head(b []byte, mine func(target []byte) bool) (r http.Request, end int, ok bool) {
	var h head
	if h.read(b, mine) != whole {
		return r, 0, false
	}
	var body body
	end = h.end + h.length
	body.rest = b[h.end:end]
	h.request(&r, &body, "")
	return r, end, true
}

// Busy is how many connections have a request whose head is there.
func (l *Listener) Busy() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if c.state.Load() == busy {
			n++
		}
	}
	return n
}
