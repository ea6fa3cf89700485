package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// rig is a real log and a real store with workers that can be started, stopped and broken.
type rig struct {
	t     *testing.T
	bus   *bus.Bus
	store *duckdb.Store
	conf  *configuration
	live  *recorder
	seen  *observer
}

type configuration struct {
	mu         sync.Mutex
	defs       []process.Definitions
	generation int64
	asked      int // how often whether they have changed
	read       int // how often they were read
}

func (c *configuration) Generation(context.Context) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.generation, nil
}

func (c *configuration) counts() (asked, read int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.read
}

func (c *configuration) Definitions(context.Context) ([]process.Definitions, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read++
	return c.defs, nil
}

func (c *configuration) set(t *testing.T, rules []alert.Rule, defs ...metric.Definition) {
	t.Helper()
	var programs []*metric.Program
	byName := map[string]*metric.Program{}
	for _, d := range append([]metric.Definition{metric.Events("t")}, defs...) {
		p, err := metric.Compile(d)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
		byName[d.Slug] = p
	}
	d := process.Definitions{Tenant: "t", Metrics: metric.NewSet(programs)}
	for _, r := range rules {
		p := byName[r.Metric]
		d.Rules = append(d.Rules, alert.Bound{Rule: r, MetricID: p.Definition().ID, Dimensions: p.Dimensions()})
	}
	c.mu.Lock()
	c.defs = []process.Definitions{d}
	c.generation++
	c.mu.Unlock()
}

// recorder is a Live that adds up what it is told.
type recorder struct {
	mu          sync.Mutex
	count       uint64
	published   int    // calls that had something
	upto        uint64 // the last message published
	early       bool   // something was committed that had not been published
	committed   uint64
	transitions []alert.Transition
}

func (r *recorder) Restart(int, []series.Delta) {}
func (r *recorder) History(int, []series.Delta) {}
func (r *recorder) Publish(_ int, seq uint64, deltas []series.Delta, _ []event.Stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published++
	r.upto = seq
	for i := range deltas {
		if deltas[i].Metric == metric.EventsID {
			r.count += deltas[i].Agg.Count
		}
	}
}

func (r *recorder) Committed(_ int, seq uint64, transitions []alert.Transition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.committed = max(r.committed, seq)
	r.early = r.early || seq > r.upto
	r.transitions = append(r.transitions, transitions...)
}

type observer struct {
	mu       sync.Mutex
	failures map[string]int
}

func (o *observer) Processed(int, int, int)              {}
func (o *observer) Committed(int, uint64, time.Duration) {}
func (o *observer) Lag(int, uint64)                      {}
func (o *observer) Folded(tenant.ID, int64)              {}
func (o *observer) Failed(_ int, stage string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures[stage]++
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "log"), Partitions: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	s, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(dir, "events.duckdb"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := &rig{t: t, bus: b, store: s, conf: &configuration{}, live: &recorder{}, seen: &observer{failures: map[string]int{}}}
	r.conf.set(t, nil)
	return r
}

// start runs a worker until stop is called.
func (r *rig) start(change func(*process.Config)) (w *process.Worker, stop func()) {
	cfg := process.Config{
		Log: slog.New(slog.DiscardHandler), Stream: r.bus, Store: r.store, Configuration: r.conf, Live: r.live, Observer: r.seen, Now: time.Now,
		DedupeWindow: 24 * time.Hour, MaxSeries: 1000, CommitEvery: 5 * time.Millisecond, Tick: 20 * time.Millisecond, LiveSpan: 15 * time.Minute,
	}
	if change != nil {
		change(&cfg)
	}
	w = process.NewWorker(0, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	r.t.Cleanup(stop)
	return w, stop
}

// send appends one log message of events with ids first to last.
func (r *rig) send(first, last int) uint64 {
	r.t.Helper()
	now := time.Now().UTC()
	b := event.BeginBatch(nil)
	for i := first; i <= last; i++ {
		b = event.AppendEvent(b, "t", &event.Event{ID: fmt.Sprint(i), Source: "s", Type: []string{"a", "b", "c"}[i%3], Time: now, Received: now, Identified: true,
			Data: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	return r.append(b)
}

func (r *rig) append(b []byte) uint64 {
	r.t.Helper()
	seq, err := r.bus.Append(r.t.Context(), 0, b)
	if err != nil {
		r.t.Fatal(err)
	}
	return seq
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatal("not within 20 seconds: " + what)
		case <-tick.C:
		}
	}
}

func (r *rig) stored() (ids map[string]int) {
	r.t.Helper()
	ids = map[string]int{}
	err := r.store.Scan(r.t.Context(), "t", store.Scan{}, func(ev *event.Stored) error { ids[strings.Clone(ev.ID)]++; return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

func (r *rig) rollups(id int64, res time.Duration) (count uint64, sum float64) {
	r.t.Helper()
	now := time.Now()
	err := r.store.Rollups(r.t.Context(), "t", store.RollupQuery{Metric: id, Step: res, From: now.Add(-48 * time.Hour), To: now.Add(48 * time.Hour)}, func(x *series.Rollup) error {
		count += x.Agg.Count
		sum += x.Agg.Sum
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return count, sum
}

func (r *rig) offset() uint64 {
	r.t.Helper()
	st, err := r.store.Partition(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Offset.Seq
}

// exactlyOnce checks that events 1 to n are stored and counted once.
func (r *rig) exactlyOnce(n int) {
	r.t.Helper()
	ids := r.stored()
	for i := 1; i <= n; i++ {
		if c := ids[fmt.Sprint(i)]; c != 1 {
			r.t.Errorf("event %d is stored %d times", i, c)
		}
	}
	if len(ids) != n {
		r.t.Errorf("%d different events are stored, sent were %d", len(ids), n)
	}
	for _, res := range series.Resolutions() {
		if count, _ := r.rollups(metric.EventsID, res); count != uint64(n) {
			r.t.Errorf("rollups of %s count %d, want %d", res, count, n)
		}
	}
	used, err := r.store.Usage(r.t.Context(), "t", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)) // it may have struck meanwhile
	if err != nil {
		r.t.Fatal(err)
	}
	events, bytes := int64(0), int64(0)
	for _, u := range used {
		events, bytes = events+u.Events, bytes+u.Bytes
	}
	size := int64(0)
	for id := range ids {
		size += int64(2*len(id) + len("s") + len("a") + len(`{"n":}`))
	}
	if events != int64(n) || bytes != size {
		r.t.Errorf("usage counts %d events of %d bytes, want %d of %d", events, bytes, n, size)
	}
}

func TestEventsAreStoredAndCountedOnceThoughSentTwice(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	r.send(1, 50)
	last := r.send(1, 100)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(100)
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	if r.live.count != 100 {
		t.Errorf("live was told of %d events, want 100", r.live.count)
	}
}

func TestDuplicatesAreKnownAfterARestart(t *testing.T) {
	r := newRig(t)
	_, stop := r.start(nil)
	last := r.send(1, 100)
	r.until("committed", func() bool { return r.offset() == last })
	stop()
	last = r.send(50, 150)
	r.start(nil)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(150)
}

func TestWorkersThatAreStoppedAnywhereLoseAndDoubleNothing(t *testing.T) {
	r := newRig(t)
	n := 0
	var last uint64
	for round := range 25 {
		_, stop := r.start(nil)
		for range 1 + round%7 {
			last = r.send(n+1, n+1+round)
			n += 1 + round
		}
		stop()
	}
	r.start(nil)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(n)
}

func TestTwoWorkersOnOnePartitionCountOnce(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	r.start(nil)
	n := 0
	var last uint64
	for range 60 {
		last = r.send(n+1, n+20)
		n += 20
	}
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(n)
}

// failing is a store whose commits fail now and then, before or after they took effect.
type failing struct {
	process.Store
	mu sync.Mutex
	n  int
}

func (f *failing) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	switch n % 5 {
	case 2:
		return store.Offset{}, fmt.Errorf("injected before the commit")
	case 4:
		if _, err := f.Store.Commit(ctx, c); err != nil {
			return store.Offset{}, err
		}
		return store.Offset{}, fmt.Errorf("injected after the commit")
	}
	return f.Store.Commit(ctx, c)
}

func TestCommitsThatFailBeforeOrAfterTheyTookEffectLoseAndDoubleNothing(t *testing.T) {
	r := newRig(t)
	r.start(func(c *process.Config) { c.Store = &failing{Store: r.store} })
	n := 0
	var last uint64
	for range 10 {
		last = r.send(n+1, n+10)
		n += 10
		r.until("committed", func() bool { return r.offset() >= last })
	}
	r.exactlyOnce(n)
}

func TestAWorkerReadsDefinitionsOnlyWhenTheyHaveChanged(t *testing.T) {
	r := newRig(t)
	w, _ := r.start(nil)
	r.until("begun", func() bool { _, read := r.conf.counts(); return read == 1 })
	refresh := func() {
		before, _ := r.conf.counts()
		w.Refresh()
		r.until("looked", func() bool { asked, _ := r.conf.counts(); return asked > before })
	}
	refresh()
	refresh() // the one before has come to its end when this one is looked at
	if _, read := r.conf.counts(); read != 1 {
		t.Errorf("definitions that have not changed were read %d times", read)
	}
	r.conf.set(t, nil)
	w.Refresh()
	r.until("read", func() bool { _, read := r.conf.counts(); return read == 2 })
}

func TestANewMetricIsFilledFromStoredEventsWhileNewOnesCome(t *testing.T) {
	r := newRig(t)
	w, _ := r.start(nil)
	n := 0
	for range 12 {
		r.send(n+1, n+1000)
		n += 1000
	}
	r.until("some are stored", func() bool { return r.offset() >= 6 })
	def := metric.Definition{ID: 1000, Tenant: "t", Slug: "n", EventTypes: []string{"a"}, Value: "data.n"}
	r.conf.set(t, nil, def)
	w.Refresh()
	var last uint64
	for range 6 {
		last = r.send(n+1, n+100)
		n += 100
	}
	want := 0.0
	for i := 3; i <= n; i += 3 {
		want += float64(i)
	}
	r.until("filled", func() bool {
		count, sum := r.rollups(1000, time.Minute)
		return r.offset() >= last && count == uint64(n/3) && sum == want
	})
	for _, res := range series.Resolutions() {
		if count, sum := r.rollups(1000, res); count != uint64(n/3) || sum != want {
			t.Errorf("rollups of %s: %d events, sum %v; want %d, %v", res, count, sum, n/3, want)
		}
	}
	r.until("marked as filled", func() bool {
		st, err := r.store.Partition(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range st.Fills {
			if f.Metric == 1000 {
				return f.Complete
			}
		}
		return false
	})
}

func TestARuleFiresOnceThroughARestart(t *testing.T) {
	r := newRig(t)
	rule := alert.Rule{ID: 2000, Tenant: "t", Slug: "many", Metric: "events", Agg: series.Count, Window: series.Duration(5 * time.Minute), Enabled: true,
		Condition: alert.Condition{Type: "threshold", Op: ">", Value: 10}, Severity: "critical", NoData: "ok"}
	rule.Normalize()
	r.conf.set(t, []alert.Rule{rule})
	_, stop := r.start(nil)
	r.send(1, 20)
	firing := func() []alert.Incident {
		in, err := r.store.Incidents(t.Context(), "t", store.IncidentQuery{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	r.until("it fires", func() bool { return len(firing()) == 1 })
	stop()
	r.start(nil)
	last := r.send(21, 40)
	r.until("committed", func() bool { return r.offset() == last })
	if in := firing(); len(in) != 1 || in[0].State != "firing" {
		t.Errorf("incidents after the restart: %+v", in)
	}
}

func TestSeriesPastTheBoundAreFoldedAndNothingIsLost(t *testing.T) {
	r := newRig(t)
	def := metric.Definition{ID: 1001, Tenant: "t", Slug: "by-n", Dimensions: map[string]string{"n": "data.n"}}
	r.conf.set(t, nil, def)
	r.start(func(c *process.Config) { c.MaxSeries = 10 })
	last := r.send(1, 500)
	r.until("committed", func() bool { return r.offset() == last })
	labels := map[string]uint64{}
	now := time.Now()
	err := r.store.Rollups(t.Context(), "t", store.RollupQuery{Metric: 1001, Step: time.Hour, From: now.Add(-2 * time.Hour), To: now.Add(time.Hour), GroupBy: []int{0}}, func(x *series.Rollup) error {
		labels[x.Labels[0]] += x.Agg.Count
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(labels) != 11 || labels[series.OtherValue] != 490 {
		t.Errorf("%d series, %d folded; want 11 and 490", len(labels), labels[series.OtherValue])
	}
}

func TestADamagedMessageIsPassedOverAndCounted(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	r.send(1, 10)
	if _, err := r.bus.Append(t.Context(), 0, []byte("not a batch")); err != nil {
		t.Fatal(err)
	}
	last := r.send(11, 20)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(20)
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	if r.seen.failures["decode"] != 1 {
		t.Errorf("failures: %v", r.seen.failures)
	}
}
