package live

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/internal/auth"
)

// Bounds of a connection.
const (
	maxSubscriptions = 64
	maxRequestBytes  = 64 << 10
	writeTimeout     = 15 * time.Second
	closeTimeout     = 5 * time.Second // for a client to answer that it goes
	pingInterval     = 30 * time.Second
	// holdsInterval is how often it is asked whether the credentials of a connection still hold.
	holdsInterval = 2 * time.Second
)

// conn is one client's WebSocket. There may be very many: while nothing happens it has neither a goroutine nor a buffer.
type conn struct {
	hub       *Hub
	number    uint64 // among the hub's
	wire      wire
	principal auth.Principal
	holds     func(context.Context) bool
	room      *room
	state     atomic.Int32
	alive     atomic.Bool // since pinged
	in        incoming    // of whoever reads: one goroutine at a time

	mu      sync.Mutex
	subs    []*subscription
	replies []byte // frames, as they are on the wire
	pinged  time.Time
	leaving chan struct{} // the client is told to go; it is closed when it has gone
	ended   bool
}

// Serve is the WebSocket of a principal, as long as its credentials hold. It returns at once: what the HTTP server
// keeps for a request is not kept for a connection.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, p auth.Principal, holds func(context.Context) bool) {
	c := &conn{hub: h, principal: p, holds: holds, room: h.room(p.Tenant), pinged: h.cfg.Now()}
	c.alive.Store(true)
	j := &hijacker{ResponseWriter: w, wire: &c.wire}
	ws, err := websocket.Accept(j, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	_ = ws.CloseNow() // the handshake is all that the library is for
	h.cmu.Lock()
	closed := h.closed
	if !closed {
		h.last++
		c.number = h.last
		h.conns[c.number] = c
	}
	h.cmu.Unlock()
	if closed { // while the handshake went on
		f := stopping()
		_ = c.wire.last(f.frame(), time.Now().Add(closeTimeout))
		_ = c.wire.Close()
		return
	}
	h.reading.Do(h.startReading)
	if len(j.early) == 0 && h.poller != nil && c.wire.raw != nil && h.poller.add(c.wire.raw, c.number) == nil {
		return
	}
	go c.read(j.early)
}

// startReading makes the poller. Without one each connection has a goroutine that reads.
func (h *Hub) startReading() {
	p, err := newPoller()
	if err != nil {
		return
	}
	h.poller = p
	go func() {
		err := p.run(h.ctx, func(number uint64) {
			h.cmu.Lock()
			c := h.conns[number]
			h.cmu.Unlock()
			if c != nil {
				go c.readable()
			}
		})
		if err != nil {
			h.cfg.Log.Error("requests on live connections are not read any more; restart the server", "error.message", err.Error())
		}
	}()
}

// readable reads once, answers, and has the poller look again.
func (c *conn) readable() {
	b, _ := c.hub.buffers.Get().(*[readBuffer]byte)
	if b == nil {
		b = new([readBuffer]byte)
	}
	n, err := c.wire.receive(b[:])
	ok := err == nil && c.take(b[:n])
	c.hub.buffers.Put(b)
	if !ok || c.hub.poller.arm(c.wire.raw, c.number) != nil {
		c.end()
	}
}

// read answers requests until the client goes.
func (c *conn) read(early []byte) {
	defer c.end()
	if !c.take(early) {
		return
	}
	var b [readBuffer]byte
	for {
		n, err := c.wire.Read(b[:])
		if err != nil || !c.take(b[:n]) {
			return
		}
	}
}

// take answers what has come in, and says whether to go on.
func (c *conn) take(b []byte) bool {
	err := c.in.take(b, c.handle)
	var f *farewell
	if errors.As(err, &f) {
		_ = c.wire.last(f.frame(), time.Now().Add(closeTimeout)) // it has gone by itself
	}
	return err == nil
}

func (c *conn) handle(opcode byte, payload []byte) error {
	switch opcode {
	case opClose:
		return answerTo(payload)
	case opPong:
		c.alive.Store(true)
		return nil
	case opPing:
		if !c.queue(opPong, payload) {
			return errGone
		}
		return nil
	}
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		req = request{Op: "malformed"}
	}
	if !c.request(c.hub.ctx, req) {
		return errGone
	}
	return nil
}

// end gives a connection up. A writer that has it finds nothing to send.
func (c *conn) end() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	for _, s := range c.subs {
		c.room.leave(s)
	}
	c.subs, c.replies = nil, nil
	leaving := c.leaving
	c.mu.Unlock()
	_ = c.wire.Close()
	if leaving != nil {
		close(leaving)
	}
	c.hub.cmu.Lock()
	delete(c.hub.conns, c.number)
	c.hub.cmu.Unlock()
}

// stopping is what clients are told when the server goes.
func stopping() farewell { return farewell{websocket.StatusGoingAway, "the server is stopping"} }

// bye tells a client why it has to go, and waits until it has gone, or has had the time to.
func (c *conn) bye(f farewell) {
	c.mu.Lock()
	if c.ended || c.leaving != nil {
		c.mu.Unlock()
		return
	}
	gone := make(chan struct{})
	c.leaving = gone
	c.mu.Unlock()
	if c.wire.last(f.frame(), time.Now().Add(closeTimeout)) == nil {
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-gone:
		case <-timer.C:
		}
	}
	c.end()
}

// reply queues an answer. A client that asks on and on and does not read is given up.
func (c *conn) reply(v any) bool {
	b, err := json.Marshal(v)
	if err != nil {
		return false
	}
	return c.queue(opText, b)
}

func (c *conn) queue(opcode byte, payload []byte) bool {
	c.mu.Lock()
	ok := !c.ended && len(c.replies) <= maxReplies
	if ok {
		c.replies = append(appendHeader(c.replies, opcode, len(payload)), payload...)
	}
	c.mu.Unlock()
	c.hub.writers.add(c)
	return ok
}

// request answers one request, and says whether to go on.
func (c *conn) request(ctx context.Context, req request) bool {
	switch req.Op {
	case "subscribe":
		if err := c.subscribe(ctx, req); err != nil {
			if ctx.Err() != nil {
				return false
			}
			return c.reply(c.refusal(req.ID, err))
		}
		return true
	case "unsubscribe":
		c.drop(req.ID)
		return true
	case "ping":
		return c.reply(map[string]string{"op": "pong"})
	}
	return c.reply(errorFrame{req.ID, "error", "invalid_request", `send {"op": "subscribe", "id": "…", "metric": "…"} or {"op": "unsubscribe", "id": "…"}`})
}

// drop ends a subscription.
func (c *conn) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	head := headOf(id)
	c.subs = slices.DeleteFunc(c.subs, func(s *subscription) bool {
		if string(s.head) != string(head) {
			return false
		}
		c.room.leave(s)
		return true
	})
}

func (r *room) leave(s *subscription) {
	r.mu.Lock()
	s.feed.leave(s)
	r.mu.Unlock()
}

// headOf is how all frames of a subscription begin.
func headOf(id string) []byte { return append([]byte(`{"id":`), quote(id)...) }

// inspect pings clients and asks whether their credentials still hold, until ctx ends.
func (h *Hub) inspect(ctx context.Context) {
	tick := time.NewTicker(holdsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.cmu.Lock()
		conns := slices.Collect(maps.Values(h.conns))
		h.cmu.Unlock()
		now := h.cfg.Now()
		hold := map[auth.Principal]bool{} // many clients have the same credentials
		for _, c := range conns {
			ok, asked := hold[c.principal]
			if !asked {
				ok = c.holds(ctx)
				hold[c.principal] = ok
			}
			if !ok {
				go c.bye(farewell{websocket.StatusPolicyViolation, "the credentials are revoked"})
				continue
			}
			due, dead := c.ping(now)
			if dead {
				c.end()
			}
			if due {
				h.writers.add(c)
			}
		}
	}
}

// ping queues a ping if it is time for one, and says whether a client has not answered the last.
func (c *conn) ping(now time.Time) (due, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Sub(c.pinged)
	if !c.alive.Load() {
		return false, since > writeTimeout
	}
	if since < pingInterval {
		return false, false
	}
	c.pinged = now
	c.alive.Store(false)
	c.replies = appendHeader(c.replies, opPing, 0)
	return true, false
}
