package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// ledger is what senders know of the events they have sent.
type ledger struct {
	mu    sync.Mutex
	sent  map[string]sentEvent // by id
	acked map[string]bool
}

type sentEvent struct {
	kind  string
	value int
	at    time.Time
}

// load sends batches to whatever server is there until it is told to stop. What was not acknowledged is sent again later by
// half of the senders; the others never know what became of it.
type load struct {
	ledger
	address func() string
	window  time.Duration // how far in the past events lie
	wait    sync.WaitGroup
	quit    chan struct{}
}

func startLoad(senders int, window time.Duration, address func() string) *load {
	l := &load{ledger: ledger{sent: map[string]sentEvent{}, acked: map[string]bool{}}, address: address, window: window, quit: make(chan struct{})}
	for i := range senders {
		l.wait.Go(func() { l.sender(i) })
	}
	return l
}

// stop ends the load when all that is to be sent again was.
func (l *load) stop() {
	close(l.quit)
	l.wait.Wait()
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) sender(me int) {
	random := rand.New(rand.NewPCG(uint64(me), 7))
	retry := me%2 == 0
	var again []client.Event
	var c *client.Client
	base := ""
	for n := 0; ; n++ {
		batch := again
		if len(batch) == 0 {
			select {
			case <-l.quit:
				return
			default:
			}
			batch = l.batch(random, fmt.Sprintf("%d-%d", me, n))
		}
		again = nil
		if now := l.address(); now != base {
			base, c = now, client.New(now, administratorKey)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		receipt, err := c.Send(ctx, batch...)
		if err == nil && receipt.Accepted == len(batch) {
			l.mu.Lock()
			for i := range batch {
				l.acked[batch[i].ID] = true
			}
			l.mu.Unlock()
		} else {
			if retry {
				again = batch
			}
			waitABit(ctx) // the server is gone, or about to be
		}
		cancel()
	}
}

// waitABit keeps a sender from spinning on a closed port.
func waitABit(ctx context.Context) {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// batch makes some events and notes them as sent.
func (l *load) batch(random *rand.Rand, name string) []client.Event {
	now := time.Now().UTC()
	batch := make([]client.Event, 1+random.IntN(40))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		e := sentEvent{kind: fmt.Sprintf("load.%d", random.IntN(3)), value: random.IntN(1000), at: now.Add(-time.Duration(random.Int64N(int64(l.window)))).Truncate(time.Millisecond)}
		id := fmt.Sprintf("%s-%d", name, i)
		l.sent[id] = e
		batch[i] = client.Event{ID: id, Source: "load", Type: e.kind, Time: &e.at, Data: map[string]int{"value": e.value}}
	}
	return batch
}

// check compares the ledger with what a server has: acknowledged ⊆ stored ⊆ sent, each event once, and every rollup is what
// the stored events add up to.
func (l *load) check(t *testing.T, s *server) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var stored []client.StoredEvent
	eventually(t, 60*time.Second, func() error {
		var err error
		if stored, err = s.AllEvents(t.Context(), client.EventQuery{Source: "load"}); err != nil {
			return err
		}
		missing := len(l.acked)
		for _, e := range stored {
			if l.acked[e.ID] {
				missing--
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d acknowledged events are not stored", missing, len(l.acked))
		}
		total, err := s.Query(t.Context(), l.query("events", "count", "1d"))
		if err == nil && total.Totals("type")["load.0"]+total.Totals("type")["load.1"]+total.Totals("type")["load.2"] != float64(len(stored)) {
			err = fmt.Errorf("%d events stored, counted %v", len(stored), total.Totals("type"))
		}
		return err
	})
	seen := map[string]bool{}
	for _, e := range stored {
		sent, ok := l.sent[e.ID]
		var data struct{ Value int }
		if err := json.Unmarshal(e.Data, &data); err != nil || !ok || seen[e.ID] || e.Type != sent.kind || !e.Time.Equal(sent.at) || data.Value != sent.value {
			t.Errorf("stored %s %s %s %s (seen before: %v, sent: %v %+v)", e.ID, e.Type, e.Time, e.Data, seen[e.ID], ok, sent)
		}
		seen[e.ID] = true
	}
	for _, step := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		count, sum := map[string]map[int64]float64{}, map[string]map[int64]float64{}
		for id := range seen {
			e := l.sent[id]
			ms := e.at.UnixMilli() - e.at.UnixMilli()%step.Milliseconds()
			add(count, e.kind, ms, 1)
			add(sum, e.kind, ms, float64(e.value))
		}
		name := map[time.Duration]string{time.Minute: "1m", time.Hour: "1h", 24 * time.Hour: "1d"}[step]
		l.compare(t, s, l.query("events", "count", name), count)
		l.compare(t, s, l.query("value", "sum", name), sum)
		l.compare(t, s, l.query("value", "count", name), count)
	}
	t.Logf("%d events sent, %d acknowledged, %d stored", len(l.sent), len(l.acked), len(stored))
}

func add(to map[string]map[int64]float64, kind string, ms int64, v float64) {
	if to[kind] == nil {
		to[kind] = map[int64]float64{}
	}
	to[kind][ms] += v
}

// query asks from a whole day on, so that rollups of every step answer it.
func (l *load) query(metric, agg, step string) client.Query {
	from := time.Now().UTC().Add(-l.window - time.Hour).Truncate(24 * time.Hour)
	return client.Query{Metric: metric, Agg: agg, Step: step, GroupBy: []string{"type"}, From: from, To: time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)}
}

func (l *load) compare(t *testing.T, s *server, q client.Query, want map[string]map[int64]float64) {
	t.Helper()
	r, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[int64]float64{}
	for _, series := range r.Series {
		for _, p := range series.Points {
			if p.Value != nil && (*p.Value != 0 || q.Agg == "sum") {
				add(got, series.Labels["type"], p.Time.UnixMilli(), *p.Value)
			}
		}
	}
	wrong := 0
	for kind := range want {
		for ms, v := range want[kind] {
			if got[kind][ms] != v {
				if wrong++; wrong <= 5 {
					t.Errorf("%s of %s at %s of %s in steps of %s is %v, the stored events make %v", q.Agg, q.Metric, time.UnixMilli(ms).UTC(), kind, q.Step, got[kind][ms], v)
				}
			}
		}
		if len(got[kind]) != len(want[kind]) {
			t.Errorf("%s of %s of %s in steps of %s has %d points, want %d", q.Agg, q.Metric, kind, q.Step, len(got[kind]), len(want[kind]))
		}
	}
}

// address is where a server can be found at the moment; it changes with each start.
type address struct {
	mu  sync.Mutex
	url string
}

func (a *address) set(url string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.url = url
}

func (a *address) get() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.url
}

func TestKilledUnderLoadItLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	at := &address{}
	at.set(s.url)
	l := startLoad(8, 50*time.Hour, at.get)
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	rounds := 6
	for round := range rounds {
		before := l.acknowledged()
		eventually(t, 30*time.Second, func() error {
			if n := l.acknowledged() - before; n < 1000 {
				return fmt.Errorf("%d events acknowledged in round %d", n, round)
			}
			return nil
		})
		if round == 1 { // a metric that is made in the middle of it is filled and kept through all that follows
			if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "value", EventTypes: []string{"load.*"}, Value: "data.value", Dimensions: map[string]string{"type": "type"}}); err != nil {
				t.Fatal(err)
			}
		}
		s.kill()
		s.start()
		at.set(s.url)
	}
	stopped()
	s.waitForFill("value")
	l.check(t, s)
	// Nothing depends on the memory of the process that has just recovered.
	s.stop()
	s.start()
	l.check(t, s)
}

func TestKilledWhileItStartsItLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "value", EventTypes: []string{"load.*"}, Value: "data.value", Dimensions: map[string]string{"type": "type"}}); err != nil {
		t.Fatal(err)
	}
	at := &address{}
	at.set(s.url)
	l := startLoad(4, time.Hour, at.get)
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	for round := range 4 {
		before := l.acknowledged()
		eventually(t, 30*time.Second, func() error {
			if n := l.acknowledged() - before; n < 300 {
				return fmt.Errorf("%d events acknowledged in round %d", n, round)
			}
			return nil
		})
		s.kill()
		for _, after := range []int{0, 30, 100, 200, 350} { // milliseconds into the recovery
			s.launch()
			timer := time.NewTimer(time.Duration(after) * time.Millisecond)
			select {
			case <-timer.C:
			case <-s.proc.exited:
				t.Errorf("it ended by itself: %v", s.proc.err)
			}
			s.kill()
		}
		s.start()
		at.set(s.url)
	}
	stopped()
	l.check(t, s)
}
