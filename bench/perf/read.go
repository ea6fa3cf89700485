//go:build linux

package perf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/client"
)

const (
	history     = 24 * time.Hour
	questions   = 300
	askLimit    = time.Minute // for one kind of question
	progressing = 10 * time.Second

	chartName  = "24 h chart at 1 m, rollups"
	rawName    = "24 h chart at 30 s, raw"
	groupName  = "group by a property in use, raw"
	byIDName   = "event by id"
	newestName = "newest 100 of a type"
)

// stored fills a store with a day of events, asks it, and looks at what it takes on disk.
func (r *run) stored(ctx context.Context, ask bool) error {
	st, err := r.open(ctx, "read", usual())
	if err != nil {
		return err
	}
	err = r.storedIn(ctx, st, ask)
	return errors.Join(err, st.close())
}

func (r *run) storedIn(ctx context.Context, st *site, ask bool) error {
	p, err := load.NewPool(r.shape(1000, 8), st.doors())
	if err != nil {
		return err
	}
	r.say("Storing %s events", digits(float64(r.Events)))
	var live atomic.Int64
	told, done := context.WithCancel(ctx)
	go r.progress(told, &live)
	w, err := st.loadCounting(ctx, "disk", p, load.Plan{Events: r.Events, History: history}, &live)
	done()
	if err != nil {
		return err
	}
	if ask {
		if err := r.ask(ctx, st); err != nil {
			return err
		}
	}
	if err := st.finish(w); err != nil {
		return err
	}
	r.report.Works = append(r.report.Works, *w)
	r.report.note("disk", "events", "", float64(w.Events))
	r.report.note("disk", committedName, "events/s", w.Committed)
	r.report.note("disk", cpuName, "µs", w.CPU)
	r.report.note("disk", peakName, "MB", w.Peak)
	r.report.note("disk", "log an event", "B", w.Log, ceiling{"its JSON", w.EventBytes})
	r.report.note("disk", storeName, "B", w.Store, ceiling{"its JSON", w.EventBytes})
	return nil
}

// progress says how far it is.
func (r *run) progress(ctx context.Context, live *atomic.Int64) {
	start := time.Now()
	for wait(ctx, progressing) == nil {
		n := float64(live.Load())
		r.say("  %s of %s events, %s/s", digits(n), digits(float64(r.Events)), digits(round(n/time.Since(start).Seconds())))
	}
}

// asked is a kind of question: path is the i-th of them.
type asked struct {
	name string
	path func(i int) string
}

// ask asks hundreds of different questions of each kind, one after the other.
func (r *run) ask(ctx context.Context, st *site) error {
	known, err := ids(ctx, st)
	if err != nil {
		return err
	}
	a := asker{address: st.Address}
	for _, c := range st.tenants {
		key, err := c.MakeKey(ctx, "reader", "viewer")
		if err != nil {
			return err
		}
		a.keys = append(a.keys, key.Secret)
	}
	now := time.Now().Truncate(time.Minute)
	kinds := load.Types()
	chart := func(metric, step string, back time.Duration, more url.Values) string {
		to := now.Add(-back)
		more.Set("from", to.Add(-history).UTC().Format(time.RFC3339))
		more.Set("to", to.UTC().Format(time.RFC3339))
		more.Set("step", step)
		return "/v1/metrics/" + metric + "/query?" + more.Encode()
	}
	minutes := func(i int) time.Duration { return time.Duration(i/len(st.tenants)) * time.Minute }
	for _, q := range []asked{
		{chartName, func(i int) string { return chart("events", "1m", minutes(i), url.Values{"agg": {"count"}}) }},
		{"24 h chart at 1 m by type, rollups", func(i int) string { return chart("events", "1m", minutes(i), url.Values{"group_by": {"type"}}) }},
		{rawName, func(i int) string {
			return chart("events", "30s", minutes(i), url.Values{"where": {"type:" + kinds[i%4]}})
		}},
		{groupName, func(i int) string {
			return chart("charges", "30s", minutes(i), url.Values{"group_by": {"currency"}, "where": {"type:charge.succeeded"}, "agg": {"sum"}})
		}},
		{byIDName, func(i int) string { return known[i%len(known)] }},
		{newestName, func(i int) string { return "/v1/events?limit=100&type=" + kinds[i/len(st.tenants)%len(kinds)] }},
	} {
		for round := range r.Runs {
			if err := r.askAll(ctx, &a, q, round*questions); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
		}
	}
	return r.fills(ctx, st)
}

// askAll asks one kind of question of one tenant after the other.
func (r *run) askAll(ctx context.Context, a *asker, q asked, first int) error {
	var times []time.Duration
	start := time.Now()
	for i := first; i < first+questions && time.Since(start) < askLimit; i++ {
		from := time.Now()
		status, err := a.ask(ctx, a.keys[i%len(a.keys)], q.path(i))
		times = append(times, time.Since(from))
		if err != nil {
			return err
		}
		if status != http.StatusOK && !(q.name == newestName && status == http.StatusNotFound) {
			return fmt.Errorf("the server answered %d: %.300s", status, a.answer.Bytes())
		}
	}
	l := bench.LatencyOf(times)
	r.say("%s: p50 %.1f, p99 %.1f, max %.1f ms of %d questions", q.name, l.P50, l.P99, l.Max, l.Count)
	r.report.note("read", q.name+" p50", "ms", l.P50)
	r.report.note("read", q.name+" p99", "ms", l.P99)
	return nil
}

// asker asks as one tenant or another. All answers are read into the same memory: while this process collected its garbage the server would have one core.
type asker struct {
	address string
	keys    []string // by tenant
	http    http.Client
	answer  bytes.Buffer
}

func (a *asker) ask(ctx context.Context, key, path string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	a.answer.Reset()
	_, err = a.answer.ReadFrom(resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// ids are paths of events of all tenants, from all over the day: the i-th is of tenant i modulo their number.
func ids(ctx context.Context, st *site) ([]string, error) {
	const each = 40
	found := make([][]string, len(st.tenants))
	now := time.Now()
	for t, c := range st.tenants {
		for part := range 4 {
			to := now.Add(-history * time.Duration(part) / 4)
			events, _, err := c.Events(ctx, client.EventQuery{To: to, Limit: each / 4})
			if err != nil {
				return nil, err
			}
			for _, e := range events {
				found[t] = append(found[t], "/v1/events/"+url.PathEscape(e.Source)+"/"+url.PathEscape(e.ID))
			}
		}
		if len(found[t]) == 0 {
			return nil, fmt.Errorf("tenant %d has no events", t)
		}
	}
	var out []string
	for i := range each {
		for t := range found {
			out = append(out, found[t][i%len(found[t])])
		}
	}
	return out, nil
}

// fills makes metrics that group by a property that nobody has asked for, and waits until they are computed from what is stored.
func (r *run) fills(ctx context.Context, st *site) error {
	m := client.Metric{Slug: "brands", EventTypes: []string{"charge.succeeded"}, Dimensions: map[string]string{"brand": "data.card.brand"}}
	var times []time.Duration
	for _, c := range st.tenants[:min(10, len(st.tenants))] {
		from := time.Now()
		if _, err := c.PutMetric(ctx, m); err != nil {
			return err
		}
		err := poll(ctx, 10*time.Minute, 2*time.Millisecond, "a new metric is filled", func() (bool, error) {
			got, err := c.Metric(ctx, m.Slug)
			return err == nil && (got.Fill == nil || got.Fill.State == "done"), err
		})
		if err != nil {
			return err
		}
		times = append(times, time.Since(from))
	}
	l := bench.LatencyOf(times)
	r.report.note("read", "new metric by a property never used, filled p50", "ms", l.P50)
	r.report.note("read", "new metric by a property never used, filled max", "ms", l.Max)
	return nil
}
