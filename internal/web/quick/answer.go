package quick

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// answer is an answer while it is made: the http.ResponseWriter of a handler. It always has a length, so its status is none of those without a body.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, b...)
	return len(b), nil
}

// append writes the answer as it is sent.
func (a *answer) append(b []byte, date string, last bool) []byte {
	a.WriteHeader(http.StatusOK)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.status)...)
	for name, values := range a.header {
		for _, value := range values {
			b = append(append(b, "\r\n"...), name...)
			b = append(b, ": "...)
			from := len(b)
			b = append(b, value...)
			for i, c := range b[from:] {
				if c == '\r' || c == '\n' {
					b[from+i] = ' '
				}
			}
		}
	}
	if last {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(append(b, "\r\nDate: "...), date...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, a.body...)
}

// reset empties the answer for another one.
func (a *answer) reset() {
	clear(a.header)
	a.status = 0
	if a.body = a.body[:0]; cap(a.body) > mostHead {
		a.body = nil
	}
}

// date is the time in the form of HTTP, formatted once a second.
type date struct{ last atomic.Pointer[stamped] }

type stamped struct {
	second int64
	text   string
}

func (d *date) now() string {
	now := time.Now()
	if s := d.last.Load(); s != nil && s.second == now.Unix() {
		return s.text
	}
	s := &stamped{now.Unix(), now.UTC().Format(http.TimeFormat)}
	d.last.Store(s)
	return s.text
}
