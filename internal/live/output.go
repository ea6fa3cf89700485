package live

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"time"
)

// Bounds of what is written.
const (
	// shared is the size from which a frame's tail is not copied for each client.
	shared = 16 << 10
	// maxReplies is how much may wait for a client that asks and does not read.
	maxReplies = 64 << 10
)

// output is what one client is to be sent: frames as they are on the wire. Servers do not mask, so the same bytes serve everyone.
type output struct {
	pieces net.Buffers // whole, but for what is in small
	small  []byte
	cut    int // where in small the part that is not among pieces begins
}

// frame adds a text message of head and tail.
func (o *output) frame(head, tail []byte) {
	o.small = appendHeader(o.small, opText, len(head)+len(tail))
	o.small = append(o.small, head...)
	if len(tail) < shared {
		o.small = append(o.small, tail...)
		return
	}
	o.flush()
	o.pieces = append(o.pieces, tail)
}

// flush makes what is in small a piece. It stays good when small grows, for growing copies.
func (o *output) flush() {
	if len(o.small) > o.cut {
		o.pieces = append(o.pieces, o.small[o.cut:len(o.small):len(o.small)])
		o.cut = len(o.small)
	}
}

func (o *output) reset() {
	clear(o.pieces)
	o.pieces, o.small, o.cut = o.pieces[:0], o.small[:0], 0
}

// Opcodes of RFC 6455.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa
)

// appendHeader writes the header of a final frame of n bytes that is not masked.
func appendHeader(b []byte, opcode byte, n int) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case n < 126:
		return append(b, byte(n)) //nolint:gosec // it is below 126
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// What a connection's turn is at.
const (
	idle    int32 = iota
	queued        // it waits for a writer
	running       // a writer has it, or it has a goroutine because its client is slow
	again         // as running, and there may be more to send
)

// writers write to all connections. They never wait for a client: one that does not take what it is sent at once gets a
// goroutine of its own until it has.
type writers struct {
	mu     sync.Mutex
	ready  sync.Cond
	conns  []*conn
	closed bool
}

// add has a writer look at connections.
func (w *writers) add(conns ...*conn) {
	w.mu.Lock()
	n := len(w.conns)
	for _, c := range conns {
		if c.claim() {
			w.conns = append(w.conns, c)
		}
	}
	if len(w.conns) > n {
		w.ready.Broadcast()
	}
	w.mu.Unlock()
}

func (w *writers) close() {
	w.mu.Lock()
	w.closed = true
	w.ready.Broadcast()
	w.mu.Unlock()
}

// take is the next few connections to look at, nil at the end.
func (w *writers) take(into []*conn) []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.conns) == 0 && !w.closed {
		w.ready.Wait()
	}
	n := min(len(w.conns), cap(into))
	into = append(into[:0], w.conns[:n]...)
	clear(w.conns[:n])
	if w.conns = w.conns[n:]; len(w.conns) == 0 {
		w.conns = nil // the next round begins at the beginning
	}
	if w.closed {
		return nil
	}
	return into
}

// run is one writer.
func (w *writers) run(now func() time.Time) {
	var o output
	var attempt attempt
	conns := make([]*conn, 0, 64)
	for {
		if conns = w.take(conns); conns == nil {
			return
		}
		for i, c := range conns {
			conns[i] = nil
			c.state.Store(running)
			c.turn(&o, &attempt, now)
			if cap(o.small) > shared*4 {
				o = output{}
			}
		}
	}
}

// claim says whether the caller is to queue the connection.
func (c *conn) claim() bool {
	for {
		switch c.state.Load() {
		case idle:
			if c.state.CompareAndSwap(idle, queued) {
				return true
			}
		case running:
			if c.state.CompareAndSwap(running, again) {
				return false
			}
		default:
			return false
		}
	}
}

// rest ends a turn unless there may be more to send.
func (c *conn) rest() bool {
	if c.state.CompareAndSwap(running, idle) {
		return true
	}
	c.state.Store(running)
	return false
}

// turn sends what is due, without waiting.
func (c *conn) turn(o *output, a *attempt, now func() time.Time) {
	for {
		o.reset()
		if !c.collect(o, now()) {
			if c.rest() {
				return
			}
			continue
		}
		n := 0
		if len(o.pieces) == 1 {
			var err error
			if n, err = c.wire.try(a, o.pieces[0]); err != nil {
				c.end()
				return
			}
			if n == len(o.pieces[0]) {
				continue
			}
		}
		go c.catchUp(o.clone(n), now, n > 0)
		return
	}
}

// clone is what is left of o behind the first n bytes, on its own.
func (o *output) clone(n int) *output {
	if len(o.pieces) == 1 {
		return &output{pieces: net.Buffers{slices.Clone(o.pieces[0][n:])}}
	}
	kept := &output{pieces: o.pieces, small: o.small, cut: o.cut}
	*o = output{}
	return kept
}

// catchUp writes to a client that is slow, as long as it takes the bytes within the timeout, and whatever has come meanwhile.
func (c *conn) catchUp(o *output, now func() time.Time, begun bool) {
	for {
		if err := c.wire.finish(o.pieces, time.Now().Add(writeTimeout), begun); err != nil {
			c.end()
			return
		}
		begun = false
		o.reset()
		for !c.collect(o, now()) {
			if c.rest() {
				return
			}
		}
	}
}

// collect adds all that is due to o, and says whether there is anything.
func (c *conn) collect(o *output, now time.Time) bool {
	c.mu.Lock()
	if c.leaving == nil {
		o.small = append(o.small, c.replies...)
		c.replies = nil
		for _, s := range c.subs {
			s.append(o, now)
		}
	}
	c.mu.Unlock()
	o.flush()
	return len(o.pieces) > 0
}
