package live_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/bus/bustest"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/live"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// lossy is a wire on which the next notes are lost when it is said so.
type lossy struct {
	live.Wire
	lose atomic.Int32
}

func (l *lossy) Tell(subject string, data []byte) error {
	if l.lose.Load() > 0 {
		l.lose.Add(-1)
		return nil
	}
	return l.Wire.Tell(subject, data)
}

// remembered notes what a cache is told.
type remembered struct {
	mu      sync.Mutex
	trusted bool
	changed []series.Rollup
}

func (m *remembered) Trust(ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trusted, m.changed = ok, nil
}

func (m *remembered) Changed(rollups []series.Rollup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed = append(m.changed, rollups...)
}

func (m *remembered) is() (trusted bool, changed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trusted, len(m.changed)
}

// afar is a hub with clients in one process, and partitions' owners in others.
type afar struct {
	*rig
	servers *bustest.Cluster
	cache   remembered
	seq     uint64
}

func newAfar(t *testing.T, servers *bustest.Cluster) *afar {
	a := &afar{servers: servers, rig: newRig(t)}
	f := live.NewFollower(live.FollowConfig{Log: slog.New(slog.DiscardHandler), Now: time.Now, Wire: a.process(), Partitions: 1, Hub: a.hub, Cache: &a.cache})
	a.begin(func(ctx context.Context) {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// process is another process's connection.
func (a *afar) process() *bus.Cluster {
	a.t.Helper()
	b, err := bus.OpenCluster(a.t.Context(), bus.ClusterConfig{Servers: a.servers.URL(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(b.Close)
	return b
}

func (a *afar) begin(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	a.t.Cleanup(func() { cancel(); <-done })
}

func (a *afar) relay() (*live.Relay, *lossy) {
	w := &lossy{Wire: a.process()}
	r := live.NewRelay(live.RelayConfig{Log: slog.New(slog.DiscardHandler), Now: time.Now, Wire: w, Span: 15 * time.Minute, Partitions: 1, Wake: func() {}})
	a.begin(r.Run)
	return r, w
}

// some is n events of one message, and what they add.
func (a *afar) some(n int) ([]series.Delta, []event.Stored) {
	now := time.Now()
	d := series.Delta{Tenant: "t", Metric: metric.EventsID, Labels: series.Labels{"s", "a"}, Second: now.Unix()}
	var events []event.Stored
	for i := range n {
		d.Agg.Add(series.Observation{At: now})
		events = append(events, event.Stored{Tenant: "t", Event: event.Event{ID: fmt.Sprint(a.seq, "-", i), Source: "s", Type: "a", Time: now, Received: now}})
	}
	return []series.Delta{d}, events
}

func (a *afar) tell(r *live.Relay, n int) {
	deltas, events := a.some(n)
	a.seq++
	r.Publish(0, a.seq, deltas, events)
	spoil(deltas)
}

func (a *afar) until(what string, ok func() bool) {
	a.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			a.t.Fatal("not within ten seconds: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestAcrossProcesses(t *testing.T) {
	servers := bustest.Start(t, bustest.Options{})
	for name, test := range map[string]func(*testing.T, *bustest.Cluster){
		"a chart shows each event once, whatever is lost":                           chartAfar,
		"what is remembered is forgotten when it changes, and when nobody is heard": cacheAfar,
		"events and incidents are shown":                                            topicsAfar,
	} {
		t.Run(name, func(t *testing.T) { test(t, servers) })
	}
}

const subscribeAll = `{"op":"subscribe","id":"x","metric":"events","agg":"count","step":"1s","since":"10m"}`

func chartAfar(t *testing.T, servers *bustest.Cluster) {
	a := newAfar(t, servers)
	history, _ := a.some(4)
	first, wire := a.relay()
	first.Restart(0, history)
	a.tell(first, 3) // before anybody looks
	a.until("the hub follows", func() bool { ok, _ := a.cache.is(); return ok })
	view, c := chart{}, a.dial("t")
	c.send(subscribeAll)
	shows := func(total float64) {
		t.Helper()
		for view.total() != total {
			f := c.next()
			if f.Op == "snapshot" {
				clear(view)
			}
			view.take(f)
			if view.total() > total {
				t.Fatalf("%v events are shown, want %v", view.total(), total)
			}
		}
	}
	shows(7)
	a.tell(first, 2)
	shows(9)

	wire.lose.Store(1)
	a.tell(first, 5) // its deltas are lost; the note behind them tells
	shows(14)
	wire.lose.Store(2)
	a.tell(first, 1) // with all that would tell of it but the next beat
	shows(15)

	// Another worker takes the partition up, while the one before it does not know yet.
	second, _ := a.relay()
	history, _ = a.some(20)
	second.Restart(0, history)
	shows(20)
	a.tell(first, 100)
	a.tell(second, 1)
	shows(21)
	first.End(0)
	a.tell(second, 1)
	shows(22)
}

func cacheAfar(t *testing.T, servers *bustest.Cluster) {
	a := newAfar(t, servers)
	r, _ := a.relay()
	if ok, _ := a.cache.is(); ok {
		t.Error("what may change without a word is trusted")
	}
	r.Restart(0, nil)
	a.until("it is trusted", func() bool { ok, _ := a.cache.is(); return ok })
	r.Changed(0, []series.Rollup{{Tenant: "t", Metric: 3, Start: time.Unix(600, 0)}, {Tenant: "t", Metric: 3, Start: time.Unix(600, 0)}, {Tenant: "u", Metric: 4, Start: time.Unix(660, 0)}})
	a.until("both steps are named", func() bool { _, n := a.cache.is(); return n == 2 })
	r.End(0)
	a.until("silence is noticed", func() bool { ok, _ := a.cache.is(); return !ok })
}

func topicsAfar(t *testing.T, servers *bustest.Cluster) {
	a := newAfar(t, servers)
	r, _ := a.relay()
	r.Restart(0, nil)
	a.until("the hub follows", func() bool { ok, _ := a.cache.is(); return ok })
	c := a.dial("t")
	c.send(`{"op":"subscribe","id":"e","topic":"events"}`)
	if f := c.next(); f.Op != "snapshot" {
		t.Fatalf("%+v", f)
	}
	a.tell(r, 3)
	for seen := 0; seen < 3; {
		seen += len(c.next().Events)
	}
	c.send(`{"op":"unsubscribe","id":"e"}`)
	c.send(`{"op":"subscribe","id":"i","topic":"incidents"}`)
	if f := c.next(); f.Op != "snapshot" {
		t.Fatalf("%+v", f)
	}
	r.Committed(0, 1, []alert.Transition{{Tenant: "t", Incident: "inc-1"}})
	if f := c.next(); f.Op != "incidents" || len(f.Incidents) != 1 || f.Incidents[0]["id"] != "inc-1" {
		t.Errorf("%+v", f)
	}
	r.IncidentChanged("t", "inc-2")
	if f := c.next(); f.Op != "incidents" || len(f.Incidents) != 1 || f.Incidents[0]["id"] != "inc-2" {
		t.Errorf("%+v", f)
	}
	if a.woken.Load() == 0 {
		t.Error("nobody was told that incidents changed")
	}
}
