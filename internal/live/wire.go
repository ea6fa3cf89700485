package live

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// wire is a client's network connection. Two write to it: the WebSocket library its control frames, and the writers all else.
type wire struct {
	net.Conn
	raw   syscall.RawConn // nil: there is no writing without waiting
	early []byte          // what came with the handshake
	// mu is held while a frame is on its way, by whoever writes it.
	mu sync.Mutex
}

// Read begins with what came with the handshake.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.early) > 0 {
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
		return n, nil
	}
	return w.Conn.Read(p)
}

// Write is for the library, which writes a control frame whole.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Conn.Write(p)
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
	if err := w.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := pieces.WriteTo(w.Conn); err != nil {
		return err
	}
	return w.SetWriteDeadline(time.Time{})
}

// Sizes of a connection's buffers: frames of clients and control frames are small, and all else is written past them.
const (
	readBuffer  = 512
	writeBuffer = 256 // a control frame has at most 127 bytes
)

// hijacker gives the WebSocket library a connection with small buffers, and lets go of those of the HTTP server.
type hijacker struct {
	http.ResponseWriter
	wire *wire
}

// Hijack is part of http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.wire.Conn = conn
	if n := rw.Reader.Buffered(); n > 0 {
		b, err := rw.Reader.Peek(n)
		if err != nil {
			return nil, nil, fmt.Errorf("read what came with the handshake: %w", err)
		}
		h.wire.early = append([]byte(nil), b...)
	}
	if err := rw.Writer.Flush(); err != nil { // the answer to the handshake
		return nil, nil, err
	}
	if s, ok := conn.(syscall.Conn); ok {
		if h.wire.raw, err = s.SyscallConn(); err != nil {
			return nil, nil, err
		}
	}
	return h.wire, bufio.NewReadWriter(bufio.NewReaderSize(h.wire, readBuffer), bufio.NewWriterSize(h.wire, writeBuffer)), nil
}
