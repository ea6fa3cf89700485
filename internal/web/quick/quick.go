// Package quick answers small requests to a few paths with a fraction of the work that net/http has with each, and leaves every connection
// that brings anything else to net/http, with what was read of it. It knows one form of a request: HTTP/1.1, POST, a Content-Length, whole within a
// moment. What it does not know it does not answer, so that there is nothing that it could understand in another way than net/http does.
package quick

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// MostBody is how many bytes the body of a request has at most that is answered here. A larger one takes net/http no more for each of its bytes.
const MostBody = 16 << 10

const (
	// mostHead bounds what stands before the body.
	mostHead = 4 << 10
	// patience is how long the rest of a request may take until it is left to net/http, which has its own limits.
	patience = time.Second
	// lazy is how much less than the server says a connection without a request may be kept: a deadline is not moved for each request.
	lazy = 10 * time.Second
)

// Listener is the listener of an http.Server: it gives it the connections that are not for itself. Its handler is called with requests that are
// good for it until it returns: it may keep nothing of them, nor hijack or flush the answer, and is not told when the client goes away.
type Listener struct {
	inner    net.Listener
	mine     func(target []byte) bool
	handler  http.Handler
	log      *slog.Logger
	idle     time.Duration
	patience time.Duration
	date     date
	large    sync.Pool // *[mostHead + MostBody]byte
	others   chan accepted
	begin    func()
	done     chan struct{} // closed by Close
	end      func() error

	mu      sync.Mutex
	conns   map[*conn]struct{}
	stopped bool
	empty   chan struct{} // closed when stopped and without connections
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// NewListener takes the connections of inner, from the first Accept on, for a server that is to serve what it returns, and has a handler and an
// IdleTimeout. Mine says which request targets, as they are sent, are answered here.
func NewListener(inner net.Listener, mine func(target []byte) bool, server *http.Server, log *slog.Logger) *Listener {
	l := &Listener{inner: inner, mine: mine, handler: server.Handler, idle: server.IdleTimeout, log: log, patience: patience, others: make(chan accepted), done: make(chan struct{}),
		conns: map[*conn]struct{}{}, empty: make(chan struct{})}
	l.begin = sync.OnceFunc(func() { go l.accept() })
	l.end = sync.OnceValue(func() error {
		close(l.done)
		return inner.Close()
	})
	return l
}

func (l *Listener) accept() {
	for {
		c, err := l.inner.Accept()
		if tcp, ok := c.(*net.TCPConn); ok && err == nil {
			l.start(tcp)
			continue
		}
		if !l.give(accepted{c, err}) || errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// give hands over to Accept, unless there will be none any more.
func (l *Listener) give(a accepted) bool {
	select {
	case l.others <- a:
		return true
	case <-l.done:
		return false
	}
}

// start serves a connection.
func (l *Listener) start(c *net.TCPConn) {
	q := &conn{TCPConn: c, l: l, remote: c.RemoteAddr().String()}
	q.buf = q.small[:]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		_ = c.Close()
		return
	}
	l.conns[q] = struct{}{}
	go q.serve()
}

// leave forgets a connection.
func (l *Listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.ended()
}

func (l *Listener) ended() {
	if l.stopped && len(l.conns) == 0 {
		select {
		case <-l.empty:
		default:
			close(l.empty)
		}
	}
}

// Accept is the next connection for net/http, or the error of the listener below.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin()
	select {
	case a := <-l.others:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends the taking of connections, and none of those that are open.
func (l *Listener) Close() error { return l.end() }

// Addr is the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Drain lets the requests that are being answered have their answers, takes no others, and returns when no connection is left here, or with the
// error of ctx when it has cut off those that are.
func (l *Listener) Drain(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	for c := range l.conns {
		c.stop()
	}
	l.ended()
	l.mu.Unlock()
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return nil
	}
	for c := range l.conns {
		_ = c.Close()
	}
	return ctx.Err()
}

// States of a connection.
const (
	waiting int32 = iota // for a request
	busy                 // with one
	closed               // by a stop
)

// conn is a connection that has brought nothing yet but requests that are answered here.
type conn struct {
	*net.TCPConn
	l        *Listener
	state    atomic.Int32
	stopping atomic.Bool
	remote   string
	deadline time.Time
	late     bool // deadline is that of the request that has begun
	answered bool // a request
	skipped  int  // since then
	small    [mostHead]byte
	large    *[mostHead + MostBody]byte // while a request needs it
	buf      []byte                     // small or large
	n        int                        // bytes in buf
	head     head
	body     body
	request  http.Request
	answer   answer
	out      []byte
}

// stop ends a connection that waits for a request; one that is busy ends after its answer.
func (c *conn) stop() {
	c.stopping.Store(true)
	if c.state.CompareAndSwap(waiting, closed) {
		_ = c.Close()
	}
}

// claim makes the connection a busy one, unless it was stopped.
func (c *conn) claim() bool {
	return c.state.Load() == busy || c.state.CompareAndSwap(waiting, busy)
}

// serve answers requests until one comes that is for net/http, or the connection ends.
func (c *conn) serve() {
	defer c.l.leave(c)
	for {
		c.skip()
		switch c.head.read(c.buf[:c.n], c.l.mine) {
		case whole:
			if !c.claim() || !c.serveOne() {
				_ = c.Close()
				return
			}
			continue
		case other:
			c.handOver()
			return
		case begun:
		}
		if c.head.end > 0 && !c.claim() || !c.more() { // a request whose head is there has an answer
			return
		}
	}
}

// mostSkipped is how many empty lines, in bytes, may stand before a request that follows one with a body: clients of old send some.
const mostSkipped = 4

// skip forgets them, as net/http does.
func (c *conn) skip() {
	k := 0
	for c.answered && k < c.n && c.skipped < mostSkipped && (c.buf[k] == '\r' || c.buf[k] == '\n') {
		k++
		c.skipped++
	}
	if k > 0 {
		c.n = copy(c.buf, c.buf[k:c.n])
	}
}

// more reads more of a request, and says whether that is for this package still.
func (c *conn) more() bool {
	c.fit(max(c.n, c.head.end+c.head.length))
	if err := c.wait(); err != nil {
		_ = c.Close()
		return false
	}
	n, err := c.Read(c.buf[c.n:])
	c.n += n
	if err == nil {
		return true
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() && c.begun() {
		c.handOver()
	} else {
		_ = c.Close()
	}
	return false
}

// fit has buf be the smaller one that has room for so many bytes.
func (c *conn) fit(bytes int) {
	switch {
	case bytes > mostHead && c.large == nil:
		b, ok := c.l.large.Get().(*[mostHead + MostBody]byte)
		if !ok {
			b = new([mostHead + MostBody]byte)
		}
		copy(b[:], c.buf[:c.n])
		c.large, c.buf = b, b[:]
	case bytes <= mostHead && c.large != nil:
		copy(c.small[:], c.buf[:c.n])
		c.buf = c.small[:]
		c.l.large.Put(c.large)
		c.large = nil
	}
}

// begun says whether something is expected within a moment.
func (c *conn) begun() bool { return c.n > 0 || !c.answered }

// wait sets the deadline of the next read. That of a request stands, however it comes.
func (c *conn) wait() error {
	now := time.Now()
	switch {
	case c.begun() && c.late:
		return nil
	case c.begun():
		c.deadline, c.late = now.Add(c.l.patience), true
	case c.deadline.Sub(now) < c.l.idle-min(lazy, c.l.idle/2):
		c.deadline = now.Add(c.l.idle)
	default:
		return nil
	}
	return c.SetReadDeadline(c.deadline)
}

// handOver leaves the connection to net/http, which alone has to do with it from then on.
func (c *conn) handOver() {
	if !c.claim() {
		return
	}
	c.l.leave(c)
	err := c.SetReadDeadline(time.Time{})
	if err != nil || !c.l.give(accepted{conn: &read{TCPConn: c.TCPConn, begin: append([]byte(nil), c.buf[:c.n]...)}}) {
		_ = c.Close()
	}
	c.n = 0
	c.fit(0)
}

// serveOne answers the request that is in buf, and says whether there may be another.
func (c *conn) serveOne() (more bool) {
	end := c.head.end + c.head.length
	c.body.rest = c.buf[c.head.end:end]
	c.head.request(&c.request, &c.body, c.remote)
	if !c.handle() {
		return false
	}
	stopping := c.stopping.Load()
	c.out = c.answer.append(c.out[:0], c.l.date.now(), stopping)
	if _, err := c.Write(c.out); err != nil {
		return false
	}
	c.n = copy(c.buf, c.buf[end:c.n])
	c.answered, c.late, c.skipped = true, false, 0
	c.answer.reset()
	if cap(c.out) > mostHead {
		c.out = nil
	}
	return !stopping && c.state.CompareAndSwap(busy, waiting) && !c.stopping.Load()
}

// handle calls the handler. One that panics ends its connection.
func (c *conn) handle() (ok bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint,err113 // the documented way to recognise it
			c.l.log.Error("a request failed with a panic", "error.message", fmt.Sprint(p), "error.stack_trace", string(debug.Stack()))
		}
	}()
	c.l.handler.ServeHTTP(&c.answer, &c.request)
	return true
}

// read is a connection of which something was read: begin.
type read struct {
	*net.TCPConn
	begin []byte
}

func (r *read) Read(p []byte) (int, error) {
	if len(r.begin) == 0 {
		return r.TCPConn.Read(p)
	}
	n := copy(p, r.begin)
	if r.begin = r.begin[n:]; len(r.begin) == 0 {
		r.begin = nil
	}
	return n, nil
}

// WriteTo stands before that of the connection, which knows nothing of begin.
func (r *read) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(r.begin)
	if r.begin = r.begin[n:]; err != nil {
		return int64(n), err
	}
	more, err := r.TCPConn.WriteTo(w)
	return int64(n) + more, err
}
