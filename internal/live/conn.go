package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
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

// conn is one client's WebSocket.
type conn struct {
	hub    *Hub
	ws     *websocket.Conn
	tenant tenant.ID
	room   *room
	wake   chan struct{}
	subs   map[string]*subscription
	since  map[string]time.Duration
}

// request is what a client sends.
type request struct {
	Op      string           `json:"op"`
	ID      string           `json:"id"`
	Topic   string           `json:"topic"`
	Metric  string           `json:"metric"`
	Agg     string           `json:"agg"`
	Step    string           `json:"step"`
	GroupBy []string         `json:"group_by"`
	Where   map[string]anyOf `json:"where"`
	Since   string           `json:"since"`
	Limit   int              `json:"limit"`
}

// anyOf is a value or a list of values.
type anyOf []string

// UnmarshalJSON reads either.
func (a *anyOf) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = anyOf{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

type frame struct {
	ID     string   `json:"id"`
	Op     string   `json:"op"`
	Metric string   `json:"metric,omitempty"`
	Agg    string   `json:"agg,omitempty"`
	Step   string   `json:"step,omitempty"`
	Unit   string   `json:"unit,omitempty"`
	Series []points `json:"series"`
}

type eventsFrame struct {
	ID         string            `json:"id"`
	Op         string            `json:"op"`
	Events     []json.RawMessage `json:"events"`
	SampledOut int               `json:"sampled_out,omitempty"`
}

type incidentsFrame struct {
	ID        string `json:"id"`
	Op        string `json:"op"`
	Incidents []any  `json:"incidents"`
}

type laggedFrame struct {
	ID      string `json:"id"`
	Op      string `json:"op"`
	Dropped int    `json:"dropped"`
}

type errorFrame struct {
	ID     string `json:"id"`
	Op     string `json:"op"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Serve is the WebSocket of a principal, as long as its credentials hold.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, p auth.Principal, holds func(context.Context) bool) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(maxRequestBytes)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	c := &conn{hub: h, ws: ws, tenant: p.Tenant, room: h.room(p.Tenant), wake: make(chan struct{}, 1),
		subs: map[string]*subscription{}, since: map[string]time.Duration{}}
	requests := make(chan request)
	go func() {
		defer cancel()
		for {
			_, b, err := ws.Read(ctx)
			if err != nil {
				return
			}
			var req request
			if err := json.Unmarshal(b, &req); err != nil {
				req = request{Op: "malformed"}
			}
			select {
			case requests <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	c.loop(ctx, requests, holds)
	c.room.mu.Lock()
	for _, s := range c.subs {
		delete(c.room.subs, s)
	}
	c.room.mu.Unlock()
	_ = ws.CloseNow()
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// loop answers requests and sends what is due until the client goes or the hub closes.
func (c *conn) loop(ctx context.Context, requests <-chan request, holds func(context.Context) bool) {
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	check := time.NewTicker(holdsInterval)
	defer check.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-c.hub.closing:
			_ = c.ws.Close(websocket.StatusGoingAway, "the server is stopping")
			return
		case req := <-requests:
			err = c.request(ctx, req)
		case <-c.wake:
			err = c.flush(ctx, due)
		case <-due.C:
			err = c.flush(ctx, due)
		case <-check.C:
			if !holds(ctx) {
				_ = c.ws.Close(websocket.StatusPolicyViolation, "the credentials are revoked")
				return
			}
		case <-ping.C:
			pctx, cancel := context.WithTimeout(ctx, writeTimeout)
			err = c.ws.Ping(pctx)
			cancel()
		}
		if err != nil {
			return
		}
	}
}

func (c *conn) write(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, b)
}

func (c *conn) request(ctx context.Context, req request) error {
	switch req.Op {
	case "subscribe":
		if err := c.subscribe(ctx, req); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return c.write(ctx, c.refusal(req.ID, err))
		}
		return nil
	case "unsubscribe":
		c.drop(req.ID)
		return nil
	case "ping":
		return c.write(ctx, map[string]string{"op": "pong"})
	}
	return c.write(ctx, errorFrame{req.ID, "error", "invalid_request", `send {"op": "subscribe", "id": "…", "metric": "…"} or {"op": "unsubscribe", "id": "…"}`})
}

func (c *conn) drop(id string) {
	if s := c.subs[id]; s != nil {
		c.room.mu.Lock()
		delete(c.room.subs, s)
		c.room.mu.Unlock()
		delete(c.subs, id)
		delete(c.since, id)
	}
}

// refusedError is what is wrong with a subscription.
type refusedError struct{ code, detail string }

func (e *refusedError) Error() string { return e.detail }

func (c *conn) refusal(id string, err error) errorFrame {
	var r *refusedError
	var limit *query.LimitError
	switch {
	case errors.As(err, &r):
		return errorFrame{id, "error", r.code, r.detail}
	case errors.As(err, &limit):
		return errorFrame{id, "error", "too_much", limit.Detail}
	case errors.Is(err, errTooMany):
		return errorFrame{id, "error", "too_many_subscriptions", err.Error()}
	}
	c.hub.cfg.Log.Error("a live subscription failed", "tenant.id", string(c.tenant), "error.message", err.Error())
	return errorFrame{id, "error", "internal", "Something went wrong here. It has been logged."}
}

func (c *conn) subscribe(ctx context.Context, req request) error {
	if req.ID == "" || len(req.ID) > 128 {
		return &refusedError{"invalid_id", "give the subscription an id of 1 to 128 bytes"}
	}
	c.drop(req.ID)
	if len(c.subs) >= maxSubscriptions {
		return errTooMany
	}
	s := &subscription{id: req.ID, conn: c}
	switch req.Topic {
	case "":
	case "events":
		s.topic = topicEvents
	case "incidents":
		s.topic = topicIncidents
	default:
		return &refusedError{"invalid_topic", `topic is "events" or "incidents"; for a metric leave it out`}
	}
	if s.topic == topicMetric {
		since, err := c.prepare(ctx, s, req)
		if err != nil {
			return err
		}
		c.since[req.ID] = since
	}
	if err := c.snapshot(ctx, s); err != nil {
		c.room.mu.Lock()
		delete(c.room.subs, s)
		c.room.mu.Unlock()
		return err
	}
	c.subs[req.ID] = s
	c.signal()
	return nil
}

// prepare checks a metric's subscription and returns how far back it goes.
func (c *conn) prepare(ctx context.Context, s *subscription, req request) (since time.Duration, err error) {
	set, err := c.hub.cfg.Metrics(ctx, c.tenant)
	if err != nil {
		return 0, err
	}
	program, ok := set.BySlug(req.Metric)
	if !ok {
		return 0, &refusedError{"invalid_metric", "there is no metric " + req.Metric}
	}
	step, since := time.Second, 15*time.Minute
	for _, f := range []struct {
		name, text string
		into       *time.Duration
	}{{"step", req.Step, &step}, {"since", req.Since, &since}} {
		if f.text == "" {
			continue
		}
		d, err := series.ParseDuration(f.text)
		if err != nil {
			return 0, &refusedError{"invalid_" + f.name, err.Error()}
		}
		*f.into = time.Duration(d)
	}
	if since < 0 {
		since = -since
	}
	now := c.hub.cfg.Now()
	q := query.Query{From: now.Add(-max(since, step)), To: now, Step: step, Agg: query.DefaultAgg(program.Definition()), GroupBy: req.GroupBy,
		Where: map[string][]string{}, Limit: 50, Other: true}
	if req.Limit > 0 {
		q.Limit = min(req.Limit, 200)
	}
	for dim, values := range req.Where {
		q.Where[dim] = values
	}
	if req.Agg != "" {
		if q.Agg, err = series.ParseKind(req.Agg); err != nil {
			return 0, &refusedError{"invalid_agg", err.Error()}
		}
	}
	if errs := q.Check(program.Definition()); len(errs) > 0 {
		return 0, &refusedError{"invalid_" + strings.TrimPrefix(errs[0].Location, "query."), errs[0].Message}
	}
	s.program, s.query = program, q
	s.project = query.Project(program.Definition(), q.GroupBy, q.Where)
	return since, nil
}

// snapshot registers a subscription and sends its first frame.
func (c *conn) snapshot(ctx context.Context, s *subscription) error {
	now := c.hub.cfg.Now()
	switch s.topic {
	case topicEvents:
		c.register(s)
		events, err := c.hub.tailSnapshot(ctx, c.tenant, c.room)
		if err != nil {
			return err
		}
		return c.write(ctx, eventsFrame{ID: s.id, Op: "snapshot", Events: events})
	case topicIncidents:
		c.register(s)
		open, err := c.hub.cfg.Open(ctx, c.tenant)
		if err != nil {
			return err
		}
		return c.write(ctx, incidentsFrame{ID: s.id, Op: "snapshot", Incidents: open})
	case topicMetric:
	}
	if err := c.hub.load(ctx, c.tenant, c.room, s, c.since[s.id]); err != nil {
		return err
	}
	c.room.mu.Lock()
	f := frame{ID: s.id, Op: "snapshot", Metric: s.program.Definition().Slug, Agg: string(s.query.Agg), Step: series.Duration(s.query.Step).String(),
		Unit: query.Unit(s.program.Definition(), s.query.Agg), Series: s.all(now)}
	for _, g := range s.order {
		clear(g.dirty)
	}
	s.dirty = false
	c.room.mu.Unlock()
	return c.write(ctx, f)
}

func (c *conn) register(s *subscription) {
	c.room.mu.Lock()
	s.ready = true
	c.room.subs[s] = struct{}{}
	c.room.mu.Unlock()
}

// flush sends what is due and sets the timer for what will be.
func (c *conn) flush(ctx context.Context, due *time.Timer) error {
	for id, s := range c.subs {
		c.room.mu.Lock()
		stale := s.stale
		c.room.mu.Unlock()
		if stale {
			if err := c.snapshot(ctx, s); err != nil {
				return err
			}
		}
		now := c.hub.cfg.Now()
		c.room.mu.Lock()
		out := s.take(now, c.since[id])
		c.room.mu.Unlock()
		for _, f := range out {
			if err := c.write(ctx, f); err != nil {
				return err
			}
		}
	}
	wait := time.Hour
	now := c.hub.cfg.Now()
	c.room.mu.Lock()
	for _, s := range c.subs {
		if s.dirty {
			wait = min(wait, max(0, s.next.Sub(now)))
		}
	}
	c.room.mu.Unlock()
	due.Reset(wait)
	return nil
}

// take returns the frames that are due; the room's mutex is held.
func (s *subscription) take(now time.Time, since time.Duration) []any {
	if !s.dirty || now.Before(s.next) {
		return nil
	}
	var out []any
	// A change that has waited longer than an interval past its time waited for this client to read: frames were left out.
	from := s.next
	if s.dirtyAt.After(from) {
		from = s.dirtyAt
	}
	if waited := now.Sub(from); s.topic == topicMetric && waited > s.interval()+time.Second {
		s.dropped += int(waited / s.interval())
	}
	s.dirty, s.next = false, now.Add(s.interval())
	if s.dropped > 0 {
		out = append(out, laggedFrame{s.id, "lagged", s.dropped})
		s.dropped = 0
	}
	switch s.topic {
	case topicMetric:
		s.forget(now, max(since, s.query.Step))
		if changed := s.changes(); len(changed) > 0 {
			out = append(out, frame{ID: s.id, Op: "points", Series: changed})
		}
	case topicEvents:
		f := eventsFrame{ID: s.id, Op: "events", Events: make([]json.RawMessage, 0, len(s.events)), SampledOut: s.sampledOut}
		for i := len(s.events) - 1; i >= 0; i-- {
			f.Events = append(f.Events, s.events[i].json)
		}
		s.events, s.sampledOut = nil, 0
		out = append(out, f)
	case topicIncidents:
		f := incidentsFrame{ID: s.id, Op: "incidents"}
		for _, v := range s.incidents {
			f.Incidents = append(f.Incidents, v)
		}
		s.incidents = nil
		out = append(out, f)
	}
	return out
}
