//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/bench/rig"
	"github.com/pulsestream/pulsestream/client"
)

const (
	liveTenants = 10
	// updateEvery is a little more than a step: a subscription has at most one frame a step, and that rule is not what is measured.
	updateEvery = 1050 * time.Millisecond
	quiet       = 15 // updates while nothing else happens
	updateLimit = 10 * time.Second
	filesSpare  = 500
)

// audience is clients that watch two metrics, and when they have seen what.
type audience struct {
	mu       sync.Mutex
	watchers []*watcher
	failed   error
	closing  atomic.Bool
	readers  sync.WaitGroup
}

// watcher is one client, and when it had each update; updates count from 1.
type watcher struct {
	conn *client.Live
	mu   sync.Mutex
	seen map[int]time.Time
}

// update is a change of both metrics.
type update struct {
	sent, queryable time.Time
}

// liveSetting is the usual metrics and the two that are watched.
func liveSetting() setting {
	s := usual()
	for _, name := range []string{"live-a", "live-b"} {
		s.metrics = append(s.metrics, client.Metric{Slug: name, EventTypes: []string{"bench." + name}, Value: "data.n"})
	}
	return s
}

// live measures how many clients can watch: how late they are, what they cost, and whether they slow down what comes in.
func (r *run) live(ctx context.Context) error {
	few := *r
	few.Tenants = liveTenants
	files, err := rig.RaiseFiles()
	if err != nil {
		return err
	}
	if most := int(files) - filesSpare; few.Clients > most { //nolint:gosec // a limit of open files is no such number
		r.say("live: %d clients, not %d: more files cannot be open", most, few.Clients)
		few.Clients = most
	}
	for i := range r.Runs {
		alone, err := few.once(ctx, "live, without clients", liveSetting(), few.shape(1000, 8), load.Plan{For: r.For})
		if err != nil {
			return err
		}
		if err := few.watched(ctx, alone); err != nil {
			return err
		}
		r.say("live, run %d of %d: done", i+1, r.Runs)
	}
	return nil
}

// watched is one server with clients: first with nothing but the updates, then with all the load that it takes.
func (r *run) watched(ctx context.Context, alone *Work) (err error) {
	st, err := r.open(ctx, "live", liveSetting())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	watched := st.tenants[len(st.tenants)-1]
	a := &audience{}
	defer a.close()
	if err := a.fill(ctx, watched, r.Clients); err != nil {
		return err
	}
	st.ResetPeak()
	own, start := ownCPU(), time.Now()
	updates, err := a.updates(ctx, watched, 1, quiet, nil)
	if err != nil {
		return err
	}
	memory, err := st.Peak()
	if err != nil {
		return err
	}
	r.report.note("live", "cores the clients themselves took", "", (ownCPU()-own).Seconds()/time.Since(start).Seconds())
	shape := r.shape(1000, 8)
	shape.Tenants-- // the last one's events are the updates
	p, err := load.NewPool(shape, st.doors()[:shape.Tenants])
	if err != nil {
		return err
	}
	over := make(chan struct{})
	var w *Work
	var lerr error
	go func() {
		defer close(over)
		w, lerr = st.load(ctx, "live, with clients", p, load.Plan{For: r.For})
	}()
	under, err := a.updates(ctx, watched, quiet+1, 1<<20, over)
	<-over
	if err := errors.Join(err, lerr); err != nil {
		return err
	}
	r.noteLive(a, memory, updates, under, alone, w)
	return a.failure()
}

func (r *run) noteLive(a *audience, memory int64, updates, under []update, alone, w *Work) {
	note := func(name, unit string, v float64) { r.report.note("live", name, unit, v) }
	for _, when := range []struct {
		name    string
		first   int
		updates []update
	}{{"", 1, updates}, {", under full load", quiet + 1, under}} {
		fromQueryable, fromSent, missing := a.delays(when.first, when.updates)
		l := bench.LatencyOf(fromQueryable)
		note("queryable to client p50"+when.name, "ms", l.P50)
		note("queryable to client p99"+when.name, "ms", l.P99)
		note("sent to client p99"+when.name, "ms", bench.LatencyOf(fromSent).P99)
		note("updates not seen"+when.name, "", float64(missing))
	}
	note("clients", "", float64(len(a.watchers)))
	note("memory with clients", "MB", float64(memory)/1e6)
	note("ingest without clients", "events/s", alone.Accepted)
	note("ingest with clients", "events/s", w.Accepted)
	note("ingest with clients, of that without", "", w.Accepted/alone.Accepted)
	note("CPU an event without clients", "µs", alone.CPU)
	note("CPU an event with clients", "µs", w.CPU)
}

// fill connects the clients; each subscribes to one of the metrics and has its snapshot when fill returns.
func (a *audience) fill(ctx context.Context, c *client.Client, n int) error {
	turns := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := a.join(ctx, c, i); err != nil {
				a.fail(fmt.Errorf("connect client %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	return a.failure()
}

func (a *audience) join(ctx context.Context, c *client.Client, i int) error {
	if err := a.failure(); err != nil { // of another one
		return err
	}
	l, err := c.Live(ctx)
	if err != nil {
		return err
	}
	metric := [2]string{"live-a", "live-b"}[i%2]
	if err := l.Subscribe(ctx, client.Subscription{ID: "a", Metric: metric, Agg: "last", Step: "1s", Since: "10s"}); err != nil {
		return errors.Join(err, l.Abort())
	}
	first, err := l.Next(ctx)
	if err != nil || first.Op != "snapshot" {
		return errors.Join(err, fmt.Errorf("the first frame is %s %s", first.Op, first.Detail), l.Abort())
	}
	w := &watcher{conn: l, seen: map[int]time.Time{}}
	a.mu.Lock()
	a.watchers = append(a.watchers, w)
	a.mu.Unlock()
	a.readers.Go(func() { a.read(ctx, w) })
	return nil
}

// read notes when a client has each update.
func (a *audience) read(ctx context.Context, w *watcher) {
	for {
		f, err := w.conn.Next(ctx)
		at := time.Now()
		if a.closing.Load() {
			return
		}
		if err != nil {
			a.fail(fmt.Errorf("a client has lost its connection: %w", err))
			return
		}
		w.note(&f, at)
	}
}

func (w *watcher) note(f *client.Frame, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range f.Series {
		for _, p := range s.Points {
			if p.Value != nil && w.seen[int(*p.Value)].IsZero() {
				w.seen[int(*p.Value)] = at
			}
		}
	}
}

func (w *watcher) when(update int) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.seen[update]
	return at, ok
}

// updates sends updates, evenly, and returns when they were sent and could be queried.
func (a *audience) updates(ctx context.Context, c *client.Client, first, n int, over <-chan struct{}) ([]update, error) {
	var out []update
	start := time.Now()
	for k := range n {
		if err := wait(ctx, time.Until(start.Add(time.Duration(k)*updateEvery))); err != nil {
			return nil, err
		}
		select {
		case <-over:
			return out, wait(ctx, 2*updateEvery)
		default:
		}
		u, err := send(ctx, c, first+k)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, wait(ctx, 2*updateEvery) // for the last to arrive
}

// send sends an update and waits until it can be queried: no later than that it was committed.
func send(ctx context.Context, c *client.Client, number int) (u update, err error) {
	var events []client.Event
	for _, name := range []string{"live-a", "live-b"} {
		events = append(events, client.Event{ID: fmt.Sprintf("%s-%d", name, number), Source: "bench", Type: "bench." + name, Data: map[string]int{"n": number}})
	}
	u.sent = time.Now()
	if _, err := c.Send(ctx, events...); err != nil {
		return u, err
	}
	err = poll(ctx, updateLimit, 2*time.Millisecond, "an update can be queried", func() (bool, error) {
		_, err := c.Event(ctx, "bench", events[1].ID)
		u.queryable = time.Now()
		if client.StatusOf(err) == http.StatusNotFound {
			return false, nil
		}
		return err == nil, err
	})
	return u, err
}

// delays are how much later than an update could be queried, and than it was sent, each client had it.
func (a *audience) delays(first int, updates []update) (fromQueryable, fromSent []time.Duration, missing int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, u := range updates {
		for _, w := range a.watchers {
			at, ok := w.when(first + k)
			if !ok {
				missing++
				continue
			}
			fromQueryable = append(fromQueryable, max(0, at.Sub(u.queryable)))
			fromSent = append(fromSent, at.Sub(u.sent))
		}
	}
	return fromQueryable, fromSent, missing
}

func (a *audience) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		a.failed = err
	}
}

func (a *audience) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *audience) close() {
	a.closing.Store(true)
	a.mu.Lock()
	all := a.watchers
	a.mu.Unlock()
	for _, w := range all {
		_ = w.conn.Abort()
	}
	a.readers.Wait()
}
