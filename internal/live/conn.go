package live

import (
	"context"
	"encoding/json"
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
	pingInterval     = 30 * time.Second
	// holdsInterval is how often it is asked whether the credentials of a connection still hold.
	holdsInterval = 2 * time.Second
)

// conn is one client's WebSocket. There may be very many: it has one goroutine, which reads, and no buffers but those for
// requests and control frames.
type conn struct {
	hub       *Hub
	ws        *websocket.Conn
	wire      wire
	principal auth.Principal
	holds     func(context.Context) bool
	room      *room
	state     atomic.Int32

	mu      sync.Mutex
	subs    []*subscription
	replies []byte // frames, as they are on the wire
	pinged  time.Time
	alive   atomic.Bool // since pinged
}

// Serve is the WebSocket of a principal, as long as its credentials hold. It returns at once: what the HTTP server
// keeps for a request is not kept for a connection.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, p auth.Principal, holds func(context.Context) bool) {
	c := &conn{hub: h, principal: p, holds: holds, room: h.room(p.Tenant), pinged: h.cfg.Now()}
	c.alive.Store(true)
	ws, err := websocket.Accept(&hijacker{w, &c.wire}, r, &websocket.AcceptOptions{
		CompressionMode: websocket.CompressionDisabled,
		OnPongReceived:  func(context.Context, []byte) { c.alive.Store(true) },
	})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(maxRequestBytes)
	c.ws = ws
	h.cmu.Lock()
	closed := h.closed
	if !closed {
		h.conns[c] = struct{}{}
	}
	h.cmu.Unlock()
	if closed {
		_ = ws.CloseNow()
		return
	}
	go c.read(h.ctx)
}

// read answers requests until the client goes or the hub closes.
func (c *conn) read(hub context.Context) {
	// Closing the connection is what ends a read: a context that could end would cost something for each.
	ctx := context.WithoutCancel(hub)
	for {
		_, b, err := c.ws.Read(ctx)
		if err != nil {
			break
		}
		var req request
		if err := json.Unmarshal(b, &req); err != nil {
			req = request{Op: "malformed"}
		}
		if !c.request(hub, req) {
			break
		}
	}
	_ = c.ws.CloseNow()
	c.mu.Lock()
	for _, s := range c.subs {
		c.room.leave(s)
	}
	c.subs, c.replies = nil, nil
	c.mu.Unlock()
	c.hub.cmu.Lock()
	delete(c.hub.conns, c)
	c.hub.cmu.Unlock()
}

// reply queues an answer. A client that asks on and on and does not read is given up.
func (c *conn) reply(v any) bool {
	b, err := json.Marshal(v)
	if err != nil {
		return false
	}
	c.mu.Lock()
	c.replies = append(appendHeader(c.replies, opText, len(b)), b...)
	ok := len(c.replies) <= maxReplies
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
		conns := make([]*conn, 0, len(h.conns))
		for c := range h.conns {
			conns = append(conns, c)
		}
		h.cmu.Unlock()
		now := h.cfg.Now()
		hold := map[auth.Principal]bool{} // many clients have the same credentials
		for _, c := range conns {
			ok, asked := hold[c.principal]
			if !asked {
				ok = c.holds(ctx)
				hold[c.principal] = ok
			}
			switch {
			case !ok:
				go func() { _ = c.ws.Close(websocket.StatusPolicyViolation, "the credentials are revoked") }()
			case c.ping(now):
				h.writers.add(c)
			}
		}
	}
}

// ping queues a ping if it is time for one, and gives up a client that has not answered the last.
func (c *conn) ping(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Sub(c.pinged)
	if !c.alive.Load() {
		if since > writeTimeout {
			c.gone()
		}
		return false
	}
	if since < pingInterval {
		return false
	}
	c.pinged = now
	c.alive.Store(false)
	c.replies = appendHeader(c.replies, opPing, 0)
	return true
}
