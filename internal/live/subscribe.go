package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
)

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

type errorFrame struct {
	ID     string `json:"id"`
	Op     string `json:"op"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
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
	case errors.Is(err, query.ErrBusy):
		return errorFrame{id, "error", "busy", err.Error()}
	case errors.Is(err, errTooMany):
		return errorFrame{id, "error", "too_many_subscriptions", err.Error()}
	}
	c.hub.cfg.Log.Error("a live subscription failed", "tenant.id", string(c.room.tenant), "error.message", err.Error())
	return errorFrame{id, "error", "internal", "Something went wrong here. It has been logged."}
}

var errTooMany = fmt.Errorf("a connection has at most %d subscriptions", maxSubscriptions)

// subscribe begins a subscription; a writer sends its snapshot.
func (c *conn) subscribe(ctx context.Context, req request) error {
	if req.ID == "" || len(req.ID) > 128 {
		return &refusedError{"invalid_id", "give the subscription an id of 1 to 128 bytes"}
	}
	c.drop(req.ID)
	c.mu.Lock()
	full := len(c.subs) >= maxSubscriptions // only this goroutine adds
	c.mu.Unlock()
	if full {
		return errTooMany
	}
	need, ok := map[string]auth.Permission{"": auth.MetricsRead, "events": auth.EventsRead, "incidents": auth.IncidentsRead}[req.Topic]
	if ok && !c.principal.Can(need) {
		return &refusedError{"forbidden", "this needs the permission " + string(need)}
	}
	s := &subscription{conn: c, head: headOf(req.ID)}
	var err error
	switch req.Topic {
	case "":
		err = c.subscribeMetric(ctx, s, req)
	case "events", "incidents":
		err = c.subscribeTopic(ctx, s, req.Topic)
	default:
		err = &refusedError{"invalid_topic", `topic is "events" or "incidents"; for a metric leave it out`}
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.subs = append(c.subs, s)
	}
	c.mu.Unlock()
	if ended {
		c.room.leave(s)
		return nil
	}
	c.hub.writers.add(c)
	return nil
}

// subscribeMetric joins the feed of a question, or makes it.
func (c *conn) subscribeMetric(ctx context.Context, s *subscription, req request) error {
	v, err := c.prepare(ctx, req)
	if err != nil {
		return err
	}
	r, id := c.room, v.program.Definition().ID
	key := questionKey(id, &v.query, v.span)
	now := c.hub.cfg.Now()
	r.mu.Lock()
	f := r.feeds[key]
	if f != nil {
		if old, ok := f.content.(*view); ok && old.folded && now.Sub(old.loadedAt) > old.span {
			f = nil // which groups it tells apart was decided by what nobody sees any more; those who look at it keep it
		}
	}
	made := f == nil
	if made {
		f = &feed{room: r, key: key, content: v, interval: v.query.Step, loaded: make(chan struct{})}
		r.feeds[key] = f
		r.views[id] = append(r.views[id], f)
	}
	f.join(s)
	r.mu.Unlock()
	if made {
		if f.err = c.hub.load(ctx, r.tenant, f, v); f.err != nil {
			r.mu.Lock()
			r.close(f)
			r.mu.Unlock()
		}
		close(f.loaded)
	}
	select {
	case <-f.loaded:
		err = f.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.leave(s)
	}
	return err
}

// subscribeTopic joins the feed of a topic, and makes the snapshot.
func (c *conn) subscribeTopic(ctx context.Context, s *subscription, topic string) error {
	r := c.room
	r.mu.Lock()
	place, of := &r.tailFeed, content(&r.tail)
	if topic == "incidents" {
		place, of = &r.incidents, &changes{}
	}
	if *place == nil {
		f := &feed{room: r, content: of, interval: topicInterval}
		f.at = of.advance(f.at, time.Time{})
		f.begin()
		*place = f
	}
	(*place).join(s)
	s.at = (*place).at
	r.mu.Unlock()
	var err error
	if topic == "incidents" {
		s.first, err = c.hub.incidentsSnapshot(ctx, r.tenant)
	} else {
		s.first, err = c.hub.eventsSnapshot(ctx, r.tenant, r, s.at)
	}
	if err != nil {
		r.leave(s)
	}
	return err
}

// prepare checks what is asked about a metric.
func (c *conn) prepare(ctx context.Context, req request) (*view, error) {
	set, err := c.hub.cfg.Metrics(ctx, c.room.tenant)
	if err != nil {
		return nil, err
	}
	program, ok := set.BySlug(req.Metric)
	if !ok {
		return nil, &refusedError{"invalid_metric", "there is no metric " + req.Metric}
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
			return nil, &refusedError{"invalid_" + f.name, err.Error()}
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
			return nil, &refusedError{"invalid_agg", err.Error()}
		}
	}
	if errs := q.Check(program.Definition()); len(errs) > 0 {
		return nil, &refusedError{"invalid_" + strings.TrimPrefix(errs[0].Location, "query."), errs[0].Message}
	}
	return &view{program: program, query: q, span: max(since, step), scalar: query.Scalar(q.Agg), project: query.Project(program.Definition(), q.GroupBy, q.Where)}, nil
}
