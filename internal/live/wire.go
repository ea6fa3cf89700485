package live

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// wire is a client's network connection.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil: there is no writing without waiting
	// mu is held while a frame is on its way, by whoever writes it.
	mu     sync.Mutex
	closed bool // the last frame is written
}

// receive reads what there is without waiting, which may be nothing; io.EOF is the end.
func (w *wire) receive(b []byte) (n int, err error) {
	cerr := w.raw.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), b) })
	switch {
	case cerr != nil:
		return 0, cerr
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	case n == 0 && err == nil:
		err = io.EOF
	}
	return max(n, 0), err
}

// last writes a frame behind which none may come.
func (w *wire) last(b []byte, deadline time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if err := w.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := w.Conn.Write(b)
	return err
}

// attempt is the memory of a writer for trying.
type attempt struct {
	b   []byte
	n   int
	err error
	f   func(fd uintptr)
}

func (a *attempt) once(fd uintptr) { a.n, a.err = send(fd, a.b) }

// try writes as much of b as the connection takes at once. If that is a part, the caller must see to it that finish is called.
func (w *wire) try(a *attempt, b []byte) (int, error) {
	if w.raw == nil || !w.mu.TryLock() {
		return 0, nil
	}
	if a.f == nil {
		a.f = a.once
	}
	if w.closed {
		w.mu.Unlock()
		return len(b), nil
	}
	a.b, a.n, a.err = b, 0, nil
	// Control does without what Write prepares for having to wait, and mu is there for what Write locks.
	err := w.raw.Control(a.f)
	n := max(a.n, 0)
	a.b = nil
	if err == nil && a.err != nil && !errors.Is(a.err, syscall.EAGAIN) && !errors.Is(a.err, syscall.EINTR) {
		err = a.err
	}
	if n == 0 || n == len(b) || err != nil {
		w.mu.Unlock()
	}
	return n, err
}

// finish writes all of pieces until the deadline; begun says that they are what is left of what try has begun.
func (w *wire) finish(pieces net.Buffers, deadline time.Time, begun bool) error {
	if !begun {
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	if err := w.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := pieces.WriteTo(w.Conn); err != nil {
		return err
	}
	return w.SetWriteDeadline(time.Time{})
}

// readBuffer is how much is read of a client at a time: a request is small.
const readBuffer = 2 << 10

// hijacker takes the connection of a request while the WebSocket library does the handshake on it.
type hijacker struct {
	http.ResponseWriter
	wire  *wire
	early []byte // what came with the handshake
}

// Hijack is part of http.Hijacker. What it returns is not for use: the connection is the wire's.
func (h *hijacker) Hijack() (_ net.Conn, _ *bufio.ReadWriter, err error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil { // it is nobody else's
			_ = conn.Close()
		}
	}()
	if n := rw.Reader.Buffered(); n > 0 {
		var b []byte
		if b, err = rw.Reader.Peek(n); err != nil {
			return nil, nil, fmt.Errorf("read what came with the handshake: %w", err)
		}
		h.early = append([]byte(nil), b...)
	}
	if err = rw.Writer.Flush(); err != nil { // the answer to the handshake
		return nil, nil, err
	}
	h.wire.Conn = conn
	if s, ok := conn.(syscall.Conn); ok {
		if h.wire.raw, err = s.SyscallConn(); err != nil {
			return nil, nil, err
		}
	}
	left, _ := net.Pipe()
	return left, bufio.NewReadWriter(bufio.NewReaderSize(left, 16), bufio.NewWriterSize(left, 16)), nil
}
