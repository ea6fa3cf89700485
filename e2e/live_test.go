package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// viewer reads a live connection all the time and hands its frames on.
type viewer struct {
	t      testing.TB
	live   *client.Live
	frames chan client.Frame
}

func (s *server) view(t testing.TB) *viewer {
	t.Helper()
	live, err := s.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newViewer(t, live)
}

func newViewer(t testing.TB, live *client.Live) *viewer {
	t.Helper()
	v := &viewer{t: t, live: live, frames: make(chan client.Frame, 10_000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(v.frames)
		for {
			f, err := live.Next(context.Background())
			if err != nil {
				return
			}
			v.frames <- f
		}
	}()
	t.Cleanup(func() {
		_ = live.Abort()
		<-ended
	})
	return v
}

func (v *viewer) subscribe(s client.Subscription) client.Frame {
	v.t.Helper()
	if err := v.live.Subscribe(v.t.Context(), s); err != nil {
		v.t.Fatal(err)
	}
	return v.until(s.ID, "snapshot")
}

// next is the next frame, if one comes in time.
func (v *viewer) next(within time.Duration) (client.Frame, bool) {
	v.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case f, open := <-v.frames:
		if !open {
			v.t.Fatal("the live connection has ended")
		}
		return f, true
	case <-timer.C:
		return client.Frame{}, false
	}
}

// until passes frames over until one of that subscription with that op comes.
func (v *viewer) until(id, op string) client.Frame {
	v.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		f, ok := v.next(time.Until(deadline))
		switch {
		case !ok:
			v.t.Fatalf("no frame %s of %s", op, id)
		case f.ID == id && f.Op == op:
			return f
		case f.Op == "error":
			v.t.Fatalf("the server answers %+v", f)
		}
	}
}

// chart is what a client draws from the frames of a subscription.
type chart map[string]map[int64]*float64 // by labels and Unix milliseconds

func (c chart) apply(f client.Frame) {
	if f.Op == "snapshot" { // the server may begin anew at any time
		clear(c)
	}
	for _, s := range f.Series {
		key := fmt.Sprint(s.Labels)
		if c[key] == nil {
			c[key] = map[int64]*float64{}
		}
		for _, p := range s.Points {
			c[key][p.Time.UnixMilli()] = p.Value
		}
	}
}

// totals adds the points of each line up.
func (c chart) totals() map[string]float64 {
	out := map[string]float64{}
	for key, points := range c {
		for _, v := range points {
			if v != nil && *v != 0 {
				out[key] += *v
			}
		}
	}
	return out
}

// draw applies frames of a subscription until the chart's totals are as wanted.
func (v *viewer) draw(id string, c chart, want map[string]float64) {
	v.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !maps.Equal(c.totals(), want); {
		f, ok := v.next(time.Until(deadline))
		if !ok {
			v.t.Fatalf("the chart %s shows %v, want %v", id, c.totals(), want)
		}
		if f.ID == id && (f.Op == "points" || f.Op == "snapshot") {
			c.apply(f)
		}
	}
}

func TestALiveChartShowsWhatTheQueryShows(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "amount", EventTypes: []string{"live.*"}, Value: "data.amount", Dimensions: map[string]string{"country": "data.country", "type": "type"}}); err != nil {
		t.Fatal(err)
	}
	event := func(kind, country string, amount int, ago time.Duration) client.Event {
		at := time.Now().Add(-ago)
		return client.Event{Type: kind, Time: &at, Data: map[string]any{"country": country, "amount": amount}}
	}
	s.send(event("live.a", "US", 1, 5*time.Minute), event("live.a", "DE", 2, time.Minute), event("live.b", "US", 4, time.Second), event("live.a", "US", 8, 40*time.Minute))
	s.waitForEvents(client.EventQuery{}, 4)
	v := s.view(t)
	subscriptions := map[string]client.Subscription{
		"all":     {ID: "all", Metric: "amount", Agg: "sum", Step: "1s", Since: "15m"},
		"split":   {ID: "split", Metric: "amount", Agg: "sum", Step: "1s", Since: "15m", GroupBy: []string{"country"}},
		"where":   {ID: "where", Metric: "amount", Agg: "count", Step: "1s", GroupBy: []string{"country"}, Where: map[string]string{"type": "live.a"}, Since: "15m"},
		"hour":    {ID: "hour", Metric: "amount", Agg: "sum", Step: "1m", Since: "1h"},
		"builtin": {ID: "builtin", Metric: "events", Agg: "count", Step: "10s", Since: "15m", GroupBy: []string{"type"}},
	}
	charts := map[string]chart{}
	for _, id := range slices.Sorted(maps.Keys(subscriptions)) {
		f := v.subscribe(subscriptions[id])
		if f.Metric != subscriptions[id].Metric || f.Agg != subscriptions[id].Agg || f.Step != subscriptions[id].Step {
			t.Errorf("the snapshot of %s is %+v", id, f)
		}
		charts[id] = chart{}
		charts[id].apply(f)
	}
	expect := func(want map[string]map[string]float64) {
		t.Helper()
		for _, id := range slices.Sorted(maps.Keys(want)) {
			for deadline := time.Now().Add(10 * time.Second); !maps.Equal(charts[id].totals(), want[id]); {
				f, ok := v.next(time.Until(deadline))
				if !ok {
					t.Fatalf("the chart %s shows %v, want %v", id, charts[id].totals(), want[id])
				}
				if charts[f.ID] != nil {
					charts[f.ID].apply(f)
				}
			}
		}
	}
	expect(map[string]map[string]float64{
		"all": {"map[]": 7}, "split": {"map[country:US]": 5, "map[country:DE]": 2}, "where": {"map[country:US]": 1, "map[country:DE]": 1}, "hour": {"map[]": 15},
		"builtin": {"map[type:live.a]": 2, "map[type:live.b]": 1},
	})
	// New ones, late ones, ones from before the chart, and one from before the memory of seconds.
	s.send(event("live.a", "US", 16, 0), event("live.b", "FR", 32, 0), event("live.a", "DE", 64, 10*time.Minute), event("live.a", "US", 128, 50*time.Minute), event("live.a", "US", 256, 20*time.Hour))
	want := map[string]map[string]float64{
		"all": {"map[]": 119}, "split": {"map[country:US]": 21, "map[country:DE]": 66, "map[country:FR]": 32}, "where": {"map[country:US]": 2, "map[country:DE]": 2}, "hour": {"map[]": 255},
		"builtin": {"map[type:live.a]": 4, "map[type:live.b]": 2},
	}
	expect(want)
	// A new connection sees the same, and so it does after a restart.
	s.kill()
	s.start()
	fresh := s.view(t)
	for _, id := range slices.Sorted(maps.Keys(subscriptions)) {
		c := chart{}
		c.apply(fresh.subscribe(subscriptions[id]))
		fresh.draw(id, c, want[id])
	}
	// After unsubscribing nothing more comes, and the name is free again.
	if err := fresh.live.Unsubscribe(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	s.send(event("live.a", "US", 1, 0))
	for fresh.until("where", "points"); len(fresh.frames) > 0; {
		if f, _ := fresh.next(0); f.ID == "all" {
			t.Errorf("after unsubscribing: %+v", f)
		}
	}
	fresh.subscribe(client.Subscription{ID: "all", Metric: "amount", Agg: "max", Step: "1s", Since: "5s"})
	s.wantNoErrors()
}

func TestTheTailShowsEventsAsTheyCome(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 60 {
		s.send(client.Event{ID: fmt.Sprint(i), Source: "tail", Type: "before", Data: i})
	}
	s.waitForEvents(client.EventQuery{}, 60)
	nextSecond(t) // at most fifty events a second are shown
	v := s.view(t)
	f := v.subscribe(client.Subscription{ID: "tail", Topic: "events"})
	if len(f.Events) != 50 || f.Events[0].ID != "59" || f.Events[49].ID != "10" {
		t.Errorf("the snapshot has %d events: %+v", len(f.Events), f.Events)
	}
	s.send(client.Event{ID: "new", Source: "tail", Type: "after", Subject: "☃", Data: map[string]any{"n": 1}})
	f = v.until("tail", "events")
	if len(f.Events) != 1 || f.Events[0].ID != "new" || f.Events[0].Subject != "☃" || string(f.Events[0].Data) != `{"n":1}` {
		t.Errorf("the tail shows %+v", f.Events)
	}
	many := make([]client.Event, 3000)
	for i := range many {
		many[i] = client.Event{Type: "flood"}
	}
	s.send(many...)
	shown, left := 0, 0
	for shown+left < len(many) {
		f = v.until("tail", "events")
		shown, left = shown+len(f.Events), left+f.SampledOut
		if shown > 200 {
			t.Fatalf("%d events of a flood shown", shown)
		}
	}
	if shown+left != len(many) {
		t.Errorf("%d shown and %d left out of %d", shown, left, len(many))
	}
	s.wantNoErrors()
}

func TestTicketsOpenOneConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ticket, err := s.LiveTicket(t.Context())
	if err != nil || ticket.Ticket == "" || time.Until(ticket.ExpiresAt) > 31*time.Second || time.Until(ticket.ExpiresAt) < 20*time.Second {
		t.Fatalf("%+v, %v", ticket, err)
	}
	anonymous := client.New(s.url, "")
	live, err := anonymous.LiveByTicket(t.Context(), ticket.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	newViewer(t, live).subscribe(client.Subscription{ID: "a", Metric: "events"})
	for what, used := range map[string]string{"used before": ticket.Ticket, "made up": "x", "cut short": ticket.Ticket[:8]} {
		if _, err := anonymous.LiveByTicket(t.Context(), used); client.StatusOf(err) != http.StatusUnauthorized {
			t.Errorf("a ticket that was %s: %v", what, err)
		}
	}
	if _, err := anonymous.Live(t.Context()); client.StatusOf(err) != http.StatusUnauthorized {
		t.Errorf("without anything: %v", err)
	}
	wantProblem(t, s.exchange("GET", "/v1/live", nil, nil), http.StatusUpgradeRequired)
	s.wantNoErrors()
}

func TestBadFramesAreAnsweredAndHarmNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	v := s.view(t)
	v.subscribe(client.Subscription{ID: "good", Metric: "events", Step: "1s"})
	for frame, code := range map[string]string{
		`{`: "invalid_request", `[]`: "invalid_request", `null`: "invalid_request", `"subscribe"`: "invalid_request", `{}`: "invalid_request", `{"op":"fly"}`: "invalid_request",
		"\xff": "invalid_request", `{"op":7}`: "invalid_request", `{"op":"subscribe","id":{}}`: "invalid_request",
		`{"op":"subscribe","metric":"events"}`:                                          "invalid_id",
		`{"op":"subscribe","id":"` + strings.Repeat("x", 129) + `","metric":"events"}`:  "invalid_id",
		`{"op":"subscribe","id":"a"}`:                                                   "invalid_metric",
		`{"op":"subscribe","id":"a","metric":"none"}`:                                   "invalid_metric",
		`{"op":"subscribe","id":"a","topic":"weather"}`:                                 "invalid_topic",
		`{"op":"subscribe","id":"a","metric":"events","agg":"p50"}`:                     "invalid_agg",
		`{"op":"subscribe","id":"a","metric":"events","agg":"median"}`:                  "invalid_agg",
		`{"op":"subscribe","id":"a","metric":"events","step":"1x"}`:                     "invalid_step",
		`{"op":"subscribe","id":"a","metric":"events","step":"0s"}`:                     "invalid_step",
		`{"op":"subscribe","id":"a","metric":"events","step":"1s","since":"30d"}`:       "invalid_step",
		`{"op":"subscribe","id":"a","metric":"events","since":"yesterday"}`:             "invalid_since",
		`{"op":"subscribe","id":"a","metric":"events","group_by":["planet"]}`:           "invalid_group_by",
		`{"op":"subscribe","id":"a","metric":"events","where":{"planet":"mars"}}`:       "invalid_where",
		`{"op":"subscribe","id":"a","metric":"events","since":"2562047h47m16.854775s"}`: "invalid_from",
	} {
		if err := v.live.Send(t.Context(), []byte(frame)); err != nil {
			t.Fatalf("%s: %v", frame, err)
		}
		var f client.Frame
		for f.Op != "error" {
			var ok bool
			if f, ok = v.next(10 * time.Second); !ok {
				t.Fatalf("%s is not answered", frame)
			}
		}
		if f.Code != code || f.Detail == "" {
			t.Errorf("%s is answered with %+v, want %s", frame, f, code)
		}
	}
	s.send(client.Event{Type: "after"})
	v.draw("good", chart{}, map[string]float64{"map[]": 1}) // by points, or by another snapshot if a worker has only just begun
	for i := range 63 {
		v.subscribe(client.Subscription{ID: fmt.Sprint(i), Metric: "events", Step: "1m", Since: "1m"})
	}
	if err := v.live.Subscribe(t.Context(), client.Subscription{ID: "one too many", Metric: "events"}); err != nil {
		t.Fatal(err)
	}
	for {
		f, ok := v.next(10 * time.Second)
		if !ok {
			t.Fatal("the 65th subscription is not answered")
		}
		if f.ID == "one too many" {
			if f.Code != "too_many_subscriptions" {
				t.Errorf("the 65th subscription is answered with %+v", f)
			}
			break
		}
	}
	// A frame that is far too large ends the connection, and only that.
	other := s.view(t)
	_ = other.live.Send(t.Context(), []byte(strings.Repeat("x", 1<<20)))
	eventually(t, 10*time.Second, func() error {
		select {
		case _, open := <-other.frames:
			if !open {
				return nil
			}
		default:
		}
		return fmt.Errorf("the connection is still open")
	})
	v.subscribe(client.Subscription{ID: "good", Metric: "events", Step: "1s"})
	s.wantNoErrors()
}

// Not in parallel to others: it measures time.
func TestAnEventIsOnTheChartWithinASecond(t *testing.T) {
	s := newServer(t)
	v := s.view(t)
	v.subscribe(client.Subscription{ID: "a", Metric: "events", Agg: "count", Step: "1s", GroupBy: []string{"type"}})
	tail := s.view(t)
	tail.subscribe(client.Subscription{ID: "t", Topic: "events"})
	var lags []time.Duration
	for i := range 6 {
		kind := fmt.Sprintf("lag.%d", i)
		began := time.Now()
		s.send(client.Event{Type: kind})
		for deadline, shown := began.Add(10*time.Second), false; !shown; {
			f, ok := v.next(time.Until(deadline))
			if !ok {
				t.Fatalf("%s does not come onto the chart", kind)
			}
			for _, line := range f.Series {
				shown = shown || line.Labels["type"] == kind
			}
		}
		lags = append(lags, time.Since(began))
		if f := tail.until("t", "events"); len(f.Events) != 1 || f.Events[0].Type != kind {
			t.Errorf("the tail shows %+v", f)
		}
		// So long that the next one need not wait for a frame to be due.
		for {
			if _, more := v.next(1100 * time.Millisecond); !more {
				break
			}
		}
	}
	slices.Sort(lags)
	t.Logf("from sending an event to its point: %s to %s", lags[0], lags[len(lags)-1])
	if lags[len(lags)-1] > time.Second {
		t.Errorf("an event was on the chart only after %s", lags[len(lags)-1])
	}
}

// nextSecond waits until the clock has moved on to another second.
func nextSecond(t testing.TB) {
	t.Helper()
	now := time.Now()
	pace(t, now.Truncate(time.Second).Add(time.Second+5*time.Millisecond).Sub(now))
}

// pace waits between events of a stream that is to last.
func pace(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
