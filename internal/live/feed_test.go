package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// nothing is a store in which nothing is, or which cannot be read.
type nothing struct{ err error }

func (n *nothing) Partition(context.Context, int) (store.PartitionState, error) {
	return store.PartitionState{}, n.err
}

func (n *nothing) Page(context.Context, tenant.ID, store.Page) ([]event.Stored, error) {
	return nil, n.err
}

func (n *nothing) Aggregates(context.Context, tenant.ID, *metric.Program, query.Query) ([]query.Group, error) {
	return nil, n.err
}

// bench is a hub whose clock the test holds, and which has no writers.
type bench struct {
	hub   *Hub
	store *nothing
	now   time.Time
}

func newBench(t testing.TB) *bench {
	program, err := metric.Compile(metric.Events("t"))
	if err != nil {
		t.Fatal(err)
	}
	set := metric.NewSet([]*metric.Program{program})
	b := &bench{store: &nothing{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.hub = New(Config{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now }, Store: b.store, Query: b.store, Span: 15 * time.Minute, Partitions: 1,
		Metrics: func(context.Context, tenant.ID) (*metric.Set, error) { return set, nil },
		Open:    func(context.Context, tenant.ID) ([]any, error) { return nil, nil }, Wake: func() {}})
	return b
}

func (b *bench) conn() *conn {
	return &conn{hub: b.hub, room: b.hub.room("t"), principal: auth.Principal{Tenant: "t", Role: auth.RoleViewer}}
}

// publish gives n events of each type.
func (b *bench) publish(n int, types ...string) {
	var deltas []series.Delta
	for _, typ := range types {
		d := series.Delta{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", typ}, Second: b.now.Unix()}
		for range n {
			d.Agg.Add(series.Observation{At: b.now})
		}
		deltas = append(deltas, d)
	}
	b.hub.Publish(0, 1, deltas, nil)
}

// second moves the clock on and has all frames made that are due.
func (b *bench) second() {
	b.now = b.now.Add(time.Second)
	b.hub.clock.mu.Lock()
	feeds := b.hub.clock.new
	b.hub.clock.new = nil
	b.hub.clock.mu.Unlock()
	for _, f := range feeds {
		f.room.mu.Lock()
		f.advance(b.now)
		f.room.mu.Unlock()
	}
}

// got is what a connection would be sent now.
func (b *bench) got(c *conn) string {
	var o output
	c.collect(&o, b.now)
	var all []byte
	for _, p := range o.pieces {
		all = append(all, p...)
	}
	var texts []string
	for len(all) > 0 {
		head, n := 2, int(all[1])
		switch n {
		case 126:
			head, n = 4, int(all[2])<<8|int(all[3])
		case 127:
			head, n = 10, int(all[7])<<16|int(all[8])<<8|int(all[9])
		}
		texts = append(texts, string(all[head:head+n]))
		all = all[head+n:]
	}
	return strings.Join(texts, "\n")
}

func subscribe(t testing.TB, c *conn, req request) {
	t.Helper()
	if err := c.subscribe(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

func TestClientsWhoAskTheSameShareOneFeedAndTheBytesOfItsFrames(t *testing.T) {
	b := newBench(t)
	one, two, three := b.conn(), b.conn(), b.conn()
	subscribe(t, one, request{ID: "x", Metric: "events", Where: map[string]anyOf{"type": {"a", "b"}}, Since: "1m"})
	subscribe(t, two, request{ID: "y", Metric: "events", Where: map[string]anyOf{"type": {"b", "a", "b"}}, Since: "60s", Step: "1s", Agg: "count"})
	subscribe(t, three, request{ID: "x", Metric: "events", Where: map[string]anyOf{"type": {"a"}}, Since: "1m"})
	if one.subs[0].feed != two.subs[0].feed || one.subs[0].feed == three.subs[0].feed {
		t.Fatal("feeds are shared by those who do not ask the same, or not by those who do")
	}
	if a, b := b.got(one), b.got(two); strings.Replace(a, `"id":"x"`, `"id":"y"`, 1) != b || !strings.Contains(a, `"op":"snapshot","metric":"events","agg":"count","step":"1s","unit":"events","series":[{"labels":{},"points":[[`) {
		t.Errorf("the snapshots are\n%s\n%s", a, b)
	}
	b.publish(3, "a")
	b.second()
	frame := one.subs[0].feed.last.Load()
	if got, want := b.got(one), `{"id":"x","op":"points","series":[{"labels":{},"points":[[1772366400000,3]]}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.got(two)
	if two.subs[0].feed.last.Load() != frame || two.subs[0].at != one.subs[0].at {
		t.Error("the second client was sent another frame")
	}
	for _, c := range []*conn{one, two, three} {
		c.drop("x")
		c.drop("y")
	}
	if r := b.hub.room("t"); len(r.feeds)+len(r.views) > 0 {
		t.Error("a feed that nobody looks at is kept")
	}
}

func TestAClientThatMissedFramesIsToldAndThenSeesWhatIs(t *testing.T) {
	b := newBench(t)
	c := b.conn()
	subscribe(t, c, request{ID: "x", Metric: "events", GroupBy: []string{"type"}, Since: "1m"})
	b.got(c)
	for i := range 4 {
		b.publish(i+1, "a")
		b.second()
	}
	want := `{"id":"x","op":"lagged","dropped":3}` + "\n" +
		`{"id":"x","op":"points","series":[{"labels":{"type":"a"},"points":[[1772366400000,1],[1772366401000,2],[1772366402000,3],[1772366403000,4]]}]}`
	if got := b.got(c); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	b.publish(9, "b")
	b.second()
	if got := b.got(c); got != `{"id":"x","op":"points","series":[{"labels":{"type":"b"},"points":[[1772366404000,9]]}]}` {
		t.Errorf("after it has caught up it gets what all get: got %s", got)
	}
	if got := b.got(c); got != "" {
		t.Errorf("nothing has happened: got %s", got)
	}
}

func TestAClientThatMissedEventsIsToldHowMany(t *testing.T) {
	b := newBench(t)
	slow, quick := b.conn(), b.conn()
	subscribe(t, slow, request{ID: "e", Topic: "events"})
	subscribe(t, quick, request{ID: "e", Topic: "events"})
	b.got(slow)
	seen := 0
	for i := range 5 {
		var events []event.Stored
		for j := range 60 {
			events = append(events, event.Stored{Tenant: "t", Event: event.Event{ID: fmt.Sprint(i, "-", j), Source: "s", Type: "a", Time: b.now, Received: b.now}})
		}
		b.hub.Publish(0, uint64(i), nil, events)
		b.second()
		got := b.got(quick)
		seen += strings.Count(got, `"source":"s"`)
		if !strings.Contains(got, `"sampled_out":10`) {
			t.Errorf("got %s", got)
		}
	}
	got := b.got(slow)
	if seen != 5*tailRate || strings.Count(got, `"source":"s"`) != maxQueued || !strings.HasPrefix(got, `{"id":"e","op":"lagged","dropped":50}`) || !strings.HasSuffix(got, `,"sampled_out":50}`) {
		t.Errorf("the quick one saw %d, the slow one got %s", seen, got)
	}
}

func TestOfAnIncidentThatChangedTwiceTheLastIsSent(t *testing.T) {
	var c changes
	for i := range 3 {
		c.add("a", fmt.Appendf(nil, `{"a":%d}`, i))
		c.add("b", fmt.Appendf(nil, `{"b":%d}`, i))
	}
	got, dropped := c.since(position{n: 1}, position{n: 6})
	if string(got) != `,"op":"incidents","incidents":[{"a":2},{"b":2}]}` || dropped != 0 {
		t.Errorf("got %s, %d dropped", got, dropped)
	}
}

func TestAGroupWhoseStepsAreGoneMakesRoomForAnother(t *testing.T) {
	b := newBench(t)
	c := b.conn()
	subscribe(t, c, request{ID: "x", Metric: "events", GroupBy: []string{"type"}, Since: "10s", Limit: 1})
	b.publish(1, "a", "b")
	b.second()
	if got := b.got(c); !strings.Contains(got, `"type":"a"`) || strings.Contains(got, `"type":"b"`) || !strings.Contains(got, `"__other__":"true"`) {
		t.Errorf("got %s", got)
	}
	b.now = b.now.Add(time.Minute)
	b.publish(1, "a")
	b.second() // what is older than ten seconds goes
	b.now = b.now.Add(time.Minute)
	b.publish(1, "a")
	b.second()
	b.publish(1, "b")
	b.second()
	b.got(c)
	late := b.conn()
	subscribe(t, late, request{ID: "y", Metric: "events", GroupBy: []string{"type"}, Since: "10s", Limit: 1})
	if late.subs[0].feed == c.subs[0].feed {
		t.Error("a feed that has folded groups long ago is for those who look at it")
	}
	b.publish(1, "b")
	b.second()
	c.drop("x")
	if f := b.hub.room("t").feeds[late.subs[0].feed.key]; f != late.subs[0].feed {
		t.Error("the older feed took the newer's place with it")
	}
}

func TestALoadThatFailsIsToldAndLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.store.err = errors.New("the disk is on fire")
	c := b.conn()
	if err := c.subscribe(t.Context(), request{ID: "x", Metric: "events", Since: "1h"}); !errors.Is(err, b.store.err) {
		t.Errorf("got %v", err)
	}
	if r := b.hub.room("t"); len(r.feeds)+len(r.views)+len(c.subs) > 0 {
		t.Error("a feed without data was kept")
	}
	b.store.err = nil
	subscribe(t, c, request{ID: "x", Metric: "events", Since: "1h"})
}

func TestALargeFrameIsNotCopiedForEachClient(t *testing.T) {
	large := bytes.Repeat([]byte("x"), shared)
	var o output
	o.frame([]byte(`{"id":"a"`), []byte(`}`))
	o.frame([]byte(`{"id":"b"`), large)
	o.frame([]byte(`{"id":"c"`), []byte(`}`))
	o.flush()
	if len(o.pieces) != 3 || &o.pieces[1][0] != &large[0] || len(o.small) > 100 {
		t.Errorf("%d pieces, %d bytes copied", len(o.pieces), len(o.small))
	}
}

func TestAllocationsOfAFrameForAClient(t *testing.T) {
	b := newBench(t)
	c := b.conn()
	subscribe(t, c, request{ID: "x", Metric: "events", GroupBy: []string{"type"}, Since: "1m"})
	b.publish(1, "a", "b")
	b.second()
	var o output
	s := c.subs[0]
	frame := s.feed.last.Load()
	n := testing.AllocsPerRun(100, func() {
		s.at = frame.from
		o.reset()
		if !c.collect(&o, b.now) {
			t.Fatal("nothing to send")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestAllocationsOfADeltaThatIsShown(t *testing.T) {
	b := newBench(t)
	subscribe(t, b.conn(), request{ID: "x", Metric: "events", GroupBy: []string{"type"}, Since: "1m"})
	subscribe(t, b.conn(), request{ID: "x", Metric: "events", Since: "1m"})
	d := []series.Delta{{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", "a"}, Second: b.now.Unix()}}
	d[0].Agg.Add(series.Observation{At: b.now})
	if n := testing.AllocsPerRun(100, func() { b.hub.Publish(0, 1, d, nil) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// BenchmarkPublish is what the stream pays for a message of 1000 events, with nobody looking and with ten thousand clients.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprint(n, " clients"), func(b *testing.B) {
			x := newBench(b)
			for range n {
				c := x.conn()
				subscribe(b, c, request{ID: "m", Metric: "events", GroupBy: []string{"type"}, Since: "1m"})
				subscribe(b, c, request{ID: "e", Topic: "events"})
				x.got(c)
			}
			var deltas []series.Delta
			for i := range 40 {
				d := series.Delta{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", fmt.Sprint("type", i)}, Second: x.now.Unix()}
				for range 25 {
					d.Agg.Add(series.Observation{At: x.now})
				}
				deltas = append(deltas, d)
			}
			events := make([]event.Stored, 1000)
			for i := range events {
				events[i] = event.Stored{Tenant: "t", Event: event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Time: x.now, Received: x.now}}
			}
			b.ReportAllocs()
			for b.Loop() {
				x.hub.Publish(0, 1, deltas, events)
				x.hub.Committed(0, 1, []alert.Transition(nil))
			}
		})
	}
}

// BenchmarkFrame is what one client's share of a frame costs, but for the system call.
func BenchmarkFrame(b *testing.B) {
	x := newBench(b)
	c := x.conn()
	subscribe(b, c, request{ID: "m", Metric: "events", GroupBy: []string{"type"}, Since: "1m"})
	x.publish(1, "a", "b", "c")
	x.second()
	var o output
	s := c.subs[0]
	frame := s.feed.last.Load()
	b.ReportAllocs()
	for b.Loop() {
		s.at = frame.from
		o.reset()
		c.collect(&o, x.now)
	}
}
