//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
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
	// pairs is how often there is a load with clients next to one without: a machine's speed changes more between two minutes than clients change it.
	pairs = 4
)

// liveSetting is the usual metrics and the two that are watched.
func liveSetting() setting {
	s := usual()
	for _, name := range watchedMetrics() {
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
	most := int(files) - filesSpare //nolint:gosec // a limit of open files is no such number
	if few.Clients > most {
		r.say("live: %d clients, not %d: this process may have %d files open; raise the limit (ulimit -n) for more", most, few.Clients, files)
		few.Clients = most
	}
	for i := range r.Runs {
		bare, err := bareTCP(ctx, min(few.Clients, most/2), bareRounds)
		if err != nil {
			return fmt.Errorf("measure bare messages: %w", err)
		}
		if err := few.watched(ctx, &bare); err != nil {
			return err
		}
		r.say("live, run %d of %d: done", i+1, r.Runs)
	}
	return nil
}

// show is a server with, now and then, clients that watch it.
type show struct {
	*run
	site     *site
	watched  *client.Client // of the tenant whose events are the updates
	audience *audience      // nil: nobody watches
	key      string         // that the clients show
	sent     int            // updates
	loads    uint64
	profile  string
}

// watched measures one server: first with nothing but the updates, without and with clients, then with all the load that it takes, with,
// without, without and with clients and so on, so that what changes as a server fills up falls on both.
func (r *run) watched(ctx context.Context, bare *messages) (err error) {
	st, err := r.open(ctx, "live", liveSetting())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	s := &show{run: r, site: st, watched: st.tenants[len(st.tenants)-1], profile: st.profile}
	st.profile = "" // there is one a server: of the first load with clients
	key, err := s.watched.MakeKey(ctx, "watcher", "viewer")
	if err != nil {
		return err
	}
	s.key = key.Secret
	alone, err := s.quietly(ctx)
	if err != nil {
		return err
	}
	err = s.before(ctx, func() error {
		st.ResetPeak()
		idle, err := s.quietly(ctx)
		if err != nil {
			return err
		}
		memory, err := st.Peak()
		if err != nil {
			return err
		}
		s.noteQuiet(bare, alone, idle, memory)
		return s.loaded(ctx, new([]*loaded)) // the first load of a server is no measure
	})
	if err != nil {
		return err
	}
	var with, without []*loaded
	attended := func() error { return s.before(ctx, func() error { return s.loaded(ctx, &with) }) }
	unattended := func() error { return s.loaded(ctx, &without) }
	for i := range pairs {
		first, second := attended, unattended
		if i%2 == 1 {
			first, second = second, first
		}
		if err := first(); err != nil {
			return err
		}
		if err := second(); err != nil {
			return err
		}
	}
	s.noteLoaded(with, without)
	return nil
}

// before does something before an audience.
func (s *show) before(ctx context.Context, do func() error) (err error) {
	if s.audience, err = gather(ctx, s.site.Address, s.key, s.Clients); err != nil {
		return err
	}
	err = do()
	err = errors.Join(err, s.audience.leave())
	s.audience = nil
	return err
}

// seen is what became of some updates, and what that took.
type seen struct {
	updates                 int
	frames, lagged, missing int
	fromQueryable, fromSent []time.Duration
	took, server, reading   time.Duration // server and reading are CPU times
}

// watch sends updates until there were most of them or it is over.
func (s *show) watch(ctx context.Context, most int, over <-chan struct{}) (w seen, err error) {
	before, err := s.site.CPU()
	if err != nil {
		return w, err
	}
	a, start := s.audience, time.Now()
	if a != nil {
		w.frames, w.lagged = a.counts()
		w.reading = a.cpu()
	}
	updates, err := s.send(ctx, most, over)
	if err != nil {
		return w, err
	}
	w.updates, w.took = len(updates), time.Since(start)
	if a != nil {
		frames, lagged := a.counts()
		w.frames, w.lagged, w.reading = frames-w.frames, lagged-w.lagged, a.cpu()-w.reading
		w.fromQueryable, w.fromSent, w.missing = a.delays(updates)
	}
	after, err := s.site.CPU()
	w.server = after - before
	return w, err
}

func (s *show) quietly(ctx context.Context) (seen, error) { return s.watch(ctx, quiet, nil) }

// loaded is a time in which as much comes in as the server takes.
type loaded struct {
	*Work
	seen
}

func (s *show) loaded(ctx context.Context, into *[]*loaded) error {
	s.loads++
	shape := s.shape(1000, 8)
	shape.Tenants-- // the last one's events are the updates
	shape.Seed = s.loads
	p, err := load.NewPool(shape, s.site.doors()[:shape.Tenants])
	if err != nil {
		return err
	}
	name := "live, without clients"
	if s.audience != nil {
		name, s.site.profile = "live, with clients", s.profile
	}
	over := make(chan struct{})
	l := &loaded{}
	var lerr error
	go func() {
		defer close(over)
		l.Work, lerr = s.site.load(ctx, name, p, load.Plan{For: s.For})
	}()
	l.seen, err = s.watch(ctx, 1<<20, over)
	<-over
	if err := errors.Join(err, lerr); err != nil {
		return err
	}
	s.site.profile = ""
	s.say("%s: %.0f events/s accepted, %.2f µs CPU an event, p99 from queryable to client %.0f ms, others used %.1f cores", name, l.Accepted, l.CPU, bench.LatencyOf(l.fromQueryable).P99, l.Others)
	s.report.Works = append(s.report.Works, *l.Work)
	*into = append(*into, l)
	return nil
}

// noteQuiet is of the time without a load.
func (s *show) noteQuiet(bare *messages, alone, idle seen, memory int64) {
	note := func(name, unit string, v float64, of ...ceiling) { s.report.note("live", name, unit, v, of...) }
	s.noteSeen("", idle)
	clients, frames := float64(s.audience.clients()), float64(max(1, idle.frames))
	note("clients", "", clients)
	note("memory with clients", "MB", float64(memory)/1e6)
	base := time.Duration(float64(alone.server) / float64(alone.took) * float64(idle.took))
	note("server's CPU a frame", "µs", micros(idle.server-base, frames), ceiling{"write to bare TCP", micros(bare.write, 1)})
	note("clients' CPU a frame", "µs", micros(idle.reading, frames), ceiling{"read from bare TCP", micros(bare.read, 1)})
	note("from the first to the last of as many bare writes", "ms", bare.burst.Seconds()*1e3*clients/float64(bare.connections))
	// What the frames of all clients leave of the machine's cores is what ingest can have at most.
	left := func(frame time.Duration) float64 {
		return 1 - frame.Seconds()*clients/updateEvery.Seconds()/float64(runtime.NumCPU())
	}
	cost := time.Duration(float64(idle.server-base+idle.reading) / frames)
	note("of the machine's cores, left by the frames", "", left(cost), ceiling{"left by as many bare messages", left(bare.write + bare.read)})
}

func (s *show) noteSeen(when string, w seen) {
	note := func(name, unit string, v float64) { s.report.note("live", name+when, unit, v) }
	l := bench.LatencyOf(w.fromQueryable)
	note("queryable to client p50", "ms", l.P50)
	note("queryable to client p99", "ms", l.P99)
	note("sent to client p99", "ms", bench.LatencyOf(w.fromSent).P99)
	note("updates not seen", "", float64(w.missing))
	note("frames for each client and update", "", float64(w.frames)/float64(max(1, len(w.fromSent)+w.missing)))
	note("frames that say that a client lags", "", float64(w.lagged))
}

// noteLoaded compares what comes in with and without clients, each load with the one next to it.
func (s *show) noteLoaded(with, without []*loaded) {
	note := func(name, unit string, v float64) { s.report.note("live", name, unit, v) }
	var all seen
	for _, l := range with {
		all.add(&l.seen)
	}
	s.noteSeen(", under full load", all)
	note("clients' CPU a frame, under full load", "µs", micros(all.reading, float64(max(1, all.frames))))
	compare := func(name, unit string, what func(*Work) float64) {
		for i := range with {
			a, b := what(without[i].Work), what(with[i].Work)
			note(name+" without clients", unit, a)
			note(name+" with clients", unit, b)
			note(name+" with clients, of that without", "", b/a)
		}
	}
	compare("ingest", "events/s", func(w *Work) float64 { return w.Accepted })
	compare("CPU an event", "µs", func(w *Work) float64 { return w.CPU })
	compare("generator's CPU an event", "µs", func(w *Work) float64 { return w.Generator })
	compare("peak memory under full load", "MB", func(w *Work) float64 { return w.Peak })
}

func (w *seen) add(o *seen) {
	w.updates, w.frames, w.lagged, w.missing = w.updates+o.updates, w.frames+o.frames, w.lagged+o.lagged, w.missing+o.missing
	w.fromQueryable, w.fromSent = append(w.fromQueryable, o.fromQueryable...), append(w.fromSent, o.fromSent...)
	w.took, w.server, w.reading = w.took+o.took, w.server+o.server, w.reading+o.reading
}

// send sends updates, evenly, and returns when they were sent and could be queried.
func (s *show) send(ctx context.Context, n int, over <-chan struct{}) ([]update, error) {
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
		s.sent++
		if s.audience != nil {
			s.audience.expect(s.sent)
		}
		u, err := sendUpdate(ctx, s.watched, s.sent)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, wait(ctx, 2*updateEvery) // for the last to arrive
}

// sendUpdate sends an update and waits until it can be queried: no later than that it was committed.
func sendUpdate(ctx context.Context, c *client.Client, number int) (u update, err error) {
	var events []client.Event
	for _, name := range watchedMetrics() {
		events = append(events, client.Event{ID: fmt.Sprintf("%s-%d", name, number), Source: "bench", Type: "bench." + name, Data: map[string]int{"n": number}})
	}
	u.number, u.sent = number, time.Now()
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
