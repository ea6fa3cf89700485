package live_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/live"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// rig is a hub over a real store, with a server to connect to.
type rig struct {
	t      testing.TB
	hub    *live.Hub
	store  *duckdb.Store
	server *httptest.Server
	woken  atomic.Int32
	busy   atomic.Bool
	seq    uint64
	offset store.Offset
}

// delayID is the first of two metrics, delay0 and delay1, of the value data.delay.
const delayID = 31

func newRig(t testing.TB) *rig {
	t.Helper()
	s, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	definitions := []metric.Definition{metric.Events("t"), {ID: delayID, Slug: "delay0", Value: "data.delay"}, {ID: delayID + 1, Slug: "delay1", Value: "data.delay"}}
	var programs []*metric.Program
	for _, def := range definitions {
		program, err := metric.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, program)
	}
	set := metric.NewSet(programs)
	r := &rig{t: t, store: s}
	r.hub = live.New(live.Config{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Store: s, Query: &querier{&query.Engine{Events: s}, &r.busy}, Span: 15 * time.Minute, Partitions: 1,
		Metrics:  func(context.Context, tenant.ID) (*metric.Set, error) { return set, nil },
		Open:     func(context.Context, tenant.ID) ([]any, error) { return []any{}, nil },
		Incident: func(_ context.Context, _ tenant.ID, id string) (any, error) { return map[string]string{"id": id}, nil },
		Wake:     func() { r.woken.Add(1) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.hub.Run(ctx) }()
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.hub.Serve(w, q, auth.Principal{Tenant: tenant.ID(q.URL.Query().Get("tenant")), Role: cmp.Or(auth.Role(q.URL.Query().Get("role")), auth.RoleAdmin)}, func(context.Context) bool { return true })
	}))
	t.Cleanup(func() { r.hub.Close(); r.server.Close(); cancel(); <-done })
	return r
}

// querier answers, or is busy.
type querier struct {
	*query.Engine
	busy *atomic.Bool
}

func (q *querier) Aggregates(ctx context.Context, t tenant.ID, p *metric.Program, what query.Query) ([]query.Group, error) {
	if q.busy.Load() {
		return nil, query.ErrBusy
	}
	return q.Engine.Aggregates(ctx, t, p, what)
}

// publish gives the hub n events of a type and time as the next log message.
func (r *rig) publish(eventType string, at time.Time, n int) {
	d := series.Delta{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", eventType}, Second: at.Unix()}
	var events []event.Stored
	for i := range n {
		d.Agg.Add(series.Observation{At: at})
		events = append(events, event.Stored{Tenant: "t", Event: event.Event{ID: fmt.Sprint(r.seq, "-", i), Source: "s", Type: eventType, Time: at, Received: at}})
	}
	r.seq++
	deltas := []series.Delta{d}
	r.hub.Publish(0, r.seq, deltas, events)
	spoil(deltas)
}

// spoil does what a worker does with the deltas that it has published.
func spoil(deltas []series.Delta) {
	for i := range deltas {
		deltas[i].Agg.Reset()
		deltas[i].Agg.Add(series.Observation{At: time.Unix(1, 0), Value: -1, Numeric: true, Distinct: 1, HasDistinct: true})
		deltas[i] = series.Delta{}
	}
}

// commit stores what was published of an old second, as a worker would.
func (r *rig) commit(eventType string, at time.Time, n int) {
	r.t.Helper()
	c := store.Commit{From: r.offset, To: store.Offset{Incarnation: "i", Seq: r.seq}}
	for i := range n {
		c.Events = append(c.Events, event.Stored{Tenant: "t", Event: event.Event{ID: fmt.Sprint("c", r.seq, "-", i), Source: "s", Type: eventType, Time: at, Received: at}, Position: event.Position{Seq: r.seq, Index: uint32(i)}})
	}
	for _, res := range series.Resolutions()[:1] {
		u := series.Rollup{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", eventType}, Step: res, Start: series.Align(at, res)}
		for range n {
			u.Agg.Add(series.Observation{At: at})
		}
		c.Rollups = append(c.Rollups, u)
	}
	offset, err := r.store.Commit(r.t.Context(), &c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.offset = offset
	r.hub.Committed(0, r.seq, nil)
}

type client struct {
	t  testing.TB
	ws *websocket.Conn
}

func (r *rig) dial(tenantID string) *client {
	r.t.Helper()
	ws, resp, err := websocket.Dial(r.t.Context(), "ws"+strings.TrimPrefix(r.server.URL, "http")+"?tenant="+tenantID, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	ws.SetReadLimit(16 << 20)
	r.t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{r.t, ws}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

type frame struct {
	ID, Op, Code, Detail string
	Dropped              int
	Events               []map[string]any
	Incidents            []map[string]any
	Series               []struct {
		Labels map[string]string
		Points [][2]*float64
	}
}

func (c *client) next() frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		c.t.Fatal("no frame:", err)
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// sum adds up the newest values of all points of frames, as a chart holds them.
type chart map[string]float64

func (c chart) take(f frame) {
	for _, s := range f.Series {
		for _, p := range s.Points {
			if p[1] != nil {
				c[fmt.Sprint(s.Labels, *p[0])] = *p[1]
			}
		}
	}
}

func (c chart) total() (sum float64) {
	for _, v := range c {
		sum += v
	}
	return sum
}

func TestASubscriptionSeesEachEventOnceWhereverItIs(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	old := now.Add(-2 * time.Hour)
	r.publish("a", old, 5) // older than memory: in the store only
	r.commit("a", old, 5)
	r.publish("a", old, 7) // older than memory, and not committed yet
	r.publish("a", now, 3) // in memory
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"x","metric":"events","agg":"count","step":"1m","group_by":["type"],"since":"3h"}`)
	view := chart{}
	f := c.next()
	if f.Op != "snapshot" || f.ID != "x" {
		t.Fatalf("%+v", f)
	}
	view.take(f)
	if got := view.total(); got != 15 {
		t.Errorf("the snapshot shows %v events, want 15", got)
	}
	r.commit("a", old, 7) // changes nothing
	r.publish("a", old, 1)
	r.publish("b", time.Now(), 2)
	for view.total() != 18 {
		view.take(c.next())
		if view.total() > 18 {
			t.Fatalf("%v events are shown, want 18", view.total())
		}
	}
}

func TestASubscriptionIsSentAtMostOneFrameAStep(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"1s","since":"1m"}`)
	c.next()
	started := time.Now()
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.publish("a", time.Now(), 1)
			}
		}
	}()
	frames := 0
	for time.Since(started) < 2500*time.Millisecond {
		c.next()
		frames++
	}
	close(stop)
	if most := int(time.Since(started)/time.Second) + 2; frames > most {
		t.Errorf("%d frames in %s", frames, time.Since(started))
	}
}

func TestTheFirstEventAfterAPauseIsShownAtOnce(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"1s","since":"1m"}`)
	c.next()
	started := time.Now()
	r.publish("a", started, 1)
	c.next()
	if took := time.Since(started); took > 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestARestartOfTheWorkerGivesANewSnapshot(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	r.publish("a", now, 5)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"1s","since":"1m"}`)
	view := chart{}
	view.take(c.next())
	d := series.Delta{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", "a"}, Second: now.Unix()}
	d.Agg.Add(series.Observation{At: now})
	r.hub.Restart(0, []series.Delta{d})
	f := c.next()
	if f.Op != "snapshot" {
		t.Fatalf("%+v", f)
	}
	view = chart{}
	view.take(f)
	if view.total() != 1 {
		t.Errorf("%v events are shown, want the 1 of the new history", view.total())
	}
}

func TestTenantsSeeTheirOwnOnly(t *testing.T) {
	r := newRig(t)
	c := r.dial("other")
	c.send(`{"op":"subscribe","id":"e","topic":"events"}`)
	c.send(`{"op":"subscribe","id":"m","metric":"events","step":"1s","since":"1m"}`)
	c.send(`{"op":"subscribe","id":"i","topic":"incidents"}`)
	for range 3 {
		c.next()
	}
	r.publish("a", time.Now(), 5)
	r.hub.Committed(0, r.seq, []alert.Transition{{ID: "1", Tenant: "t", Incident: "inc"}})
	c.send(`{"op":"ping"}`)
	if f := c.next(); f.Op != "pong" {
		t.Errorf("another tenant's frame came: %+v", f)
	}
}

func TestTheTailShowsEventsAndSaysHowManyItLeftOut(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"e","topic":"events"}`)
	if f := c.next(); f.Op != "snapshot" || len(f.Events) != 0 {
		t.Fatalf("%+v", f)
	}
	r.publish("a", time.Now(), 3)
	f := c.next()
	if f.Op != "events" || len(f.Events) == 0 || f.Events[0]["type"] != "a" {
		t.Fatalf("%+v", f)
	}
}

func TestIncidentsAreSentWhenTheyChange(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"i","topic":"incidents"}`)
	if f := c.next(); f.Op != "snapshot" {
		t.Fatalf("%+v", f)
	}
	r.hub.Committed(0, 1, []alert.Transition{{ID: "1", Tenant: "t", Incident: "inc-1"}})
	if f := c.next(); f.Op != "incidents" || len(f.Incidents) != 1 || f.Incidents[0]["id"] != "inc-1" {
		t.Fatalf("%+v", f)
	}
	if r.woken.Load() != 1 {
		t.Errorf("the notifier was woken %d times, want once", r.woken.Load())
	}
}

func TestWhatIsWrongWithASubscriptionIsSaid(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	for _, x := range []struct{ send, code string }{
		{`not JSON`, "invalid_request"},
		{`{"op":"dance"}`, "invalid_request"},
		{`{"op":"subscribe","metric":"events"}`, "invalid_id"},
		{`{"op":"subscribe","id":"x","topic":"weather"}`, "invalid_topic"},
		{`{"op":"subscribe","id":"x","metric":"nope"}`, "invalid_metric"},
		{`{"op":"subscribe","id":"x","metric":"events","agg":"median"}`, "invalid_agg"},
		{`{"op":"subscribe","id":"x","metric":"events","step":"soon"}`, "invalid_step"},
		{`{"op":"subscribe","id":"x","metric":"events","since":"soon"}`, "invalid_since"},
		{`{"op":"subscribe","id":"x","metric":"events","group_by":["nope"]}`, "invalid_group_by"},
		{`{"op":"subscribe","id":"x","metric":"events","where":{"nope":"1"}}`, "invalid_where"},
	} {
		c.send(x.send)
		if f := c.next(); f.Op != "error" || f.Code != x.code || f.Detail == "" {
			t.Errorf("%s: %+v, want %s", x.send, f, x.code)
		}
	}
}

func TestASubscriptionThatGetsNoTurnToReadIsToldSoAndMayAskAgain(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	r.busy.Store(true)
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"10s","since":"1h"}`)
	if f := c.next(); f.Op != "error" || f.Code != "busy" || !strings.Contains(f.Detail, "ask again") {
		t.Errorf("%+v", f)
	}
	r.busy.Store(false)
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"10s","since":"1h"}`)
	if f := c.next(); f.Op != "snapshot" {
		t.Errorf("%+v", f)
	}
}

func TestWhoMayNotReadSomethingMayNotFollowItEither(t *testing.T) {
	r := newRig(t)
	c := r.dial("t&role=ingest")
	for _, what := range []string{`"metric":"events"`, `"topic":"events"`, `"topic":"incidents"`} {
		c.send(`{"op":"subscribe","id":"x",` + what + `}`)
		if f := c.next(); f.Op != "error" || f.Code != "forbidden" {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

func TestASlowReaderDelaysNobody(t *testing.T) {
	r := newRig(t)
	slow, quick := r.dial("t"), r.dial("t")
	for _, c := range []*client{slow, quick} {
		c.send(`{"op":"subscribe","id":"e","topic":"events"}`)
	}
	quick.next()
	started := time.Now()
	for range 2000 { // the slow one reads none of it
		r.publish(strings.Repeat("x", 500), time.Now(), 10)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("publishing took %s", took)
	}
	if f := quick.next(); f.Op != "events" {
		t.Errorf("%+v", f)
	}
}
