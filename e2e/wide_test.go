package e2e

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// maxSeries is how many series of one metric of a tenant are told apart.
const maxSeries = 5000

// wideVariable sets how many distinct values TestMillionsOfDistinctValuesAreFoldedAndCounted sends; 1000000 takes a minute.
const wideVariable = "PULSESTREAM_E2E_WIDE"

// wideEvents are the events [from, to) of a flood in which every event has a source, a type, a subject and a key of its own.
func wideEvents(from, to int, now time.Time) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		at := now.Add(-time.Duration(i%900) * time.Second).Format(time.RFC3339) // every second of what live charts hold
		fmt.Fprintf(&b, `{"id":"w%d","source":"source-%d","type":"wide.%d","subject":"user-%d","time":%q,"data":{"key":"key-%d","amount":%d}}`+"\n", i, i, i, i, at, i, i%1000)
	}
	return b.Bytes()
}

// TestMillionsOfDistinctValuesAreFoldedAndCounted floods every dimension there is. Memory must be bounded by the number of series, not
// of values; what is over the bound is counted under __other__ and reported, and no sum is wrong for it.
func TestMillionsOfDistinctValuesAreFoldedAndCounted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := 60_000
	if v := os.Getenv(wideVariable); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n <= 2*maxSeries {
			t.Fatalf("%s is %q: give a number above %d", wideVariable, v, 2*maxSeries)
		}
	}
	for _, m := range []client.Metric{
		{Slug: "keys", Dimensions: map[string]string{"key": "data.key"}},
		{Slug: "amounts", Value: "data.amount", Dimensions: map[string]string{"key": "data.key", "source": "source"}},
		{Slug: "people"},
	} {
		if _, err := s.PutMetric(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		s.waitForFill(m.Slug)
	}
	chart := s.view(t) // somebody looks at all of it meanwhile
	chart.subscribe(client.Subscription{ID: "wide", Metric: "keys", Agg: "count", Step: "1s", GroupBy: []string{"key"}})
	now := time.Now().UTC().Truncate(time.Second)
	before, peak := s.residentMemory(), int64(0)
	for i := 0; i < n; i += 10_000 {
		to := min(i+10_000, n)
		receipt, err := s.SendRaw(t.Context(), "application/x-ndjson", wideEvents(i, to, now), nil)
		for client.StatusOf(err) == 503 { // faster than the worker: it is told so
			pace(t, 500*time.Millisecond)
			receipt, err = s.SendRaw(t.Context(), "application/x-ndjson", wideEvents(i, to, now), nil)
		}
		if err != nil || receipt.Accepted != to-i {
			t.Fatalf("%d accepted, %v", receipt.Accepted, err)
		}
		peak = max(peak, s.residentMemory())
	}
	ask := func(metric, agg string, groupBy ...string) client.QueryResult {
		t.Helper()
		r, err := s.Query(t.Context(), client.Query{Metric: metric, Agg: agg, GroupBy: groupBy, Limit: 1000, Step: "1m", From: now.Add(-time.Hour), To: now.Add(time.Minute)})
		if err != nil {
			t.Fatalf("%s of %s by %v: %v", agg, metric, groupBy, err)
		}
		return r
	}
	sum := func(r client.QueryResult) (total float64) {
		for _, one := range r.Series {
			if one.Total != nil {
				total += *one.Total
			}
		}
		return total
	}
	eventually(t, 5*time.Minute, func() error {
		peak = max(peak, s.residentMemory())
		if got := sum(ask("people", "count")); got != float64(n) {
			return fmt.Errorf("%v of %d events counted", got, n)
		}
		return nil
	})
	amounts := 0.0
	for i := range n {
		amounts += float64(i % 1000)
	}
	for _, c := range []struct {
		metric, agg string
		by          []string
		want        float64
		slack       float64
	}{
		{"events", "count", []string{"source"}, float64(n), 0}, {"events", "count", []string{"type"}, float64(n), 0}, {"events", "count", []string{"type", "source"}, float64(n), 0},
		{"keys", "count", []string{"key"}, float64(n), 0}, {"amounts", "sum", []string{"key"}, amounts, 0}, {"amounts", "count", nil, float64(n), 0},
		{"people", "unique", nil, float64(n), 0.03}, {"keys", "unique", nil, float64(n), 0.03},
	} {
		began := time.Now()
		r := ask(c.metric, c.agg, c.by...)
		took := time.Since(began)
		if got := sum(r); math.Abs(got-c.want) > c.slack*c.want {
			t.Errorf("%s of %s by %v adds up to %v, want %v", c.agg, c.metric, c.by, got, c.want)
		}
		if len(c.by) > 0 && (len(r.Series) != 1001 || r.Series[1000].Labels[client.Other] != "true") {
			t.Errorf("%s of %s by %v has %d series, want 1000 and the rest", c.agg, c.metric, c.by, len(r.Series))
		}
		t.Logf("%s of %s by %v: %s", c.agg, c.metric, c.by, took)
		if took > 5*time.Second {
			t.Errorf("%s of %s by %v took %s", c.agg, c.metric, c.by, took)
		}
	}
	dropped := map[string]uint64{"events": uint64(n - maxSeries), "keys": uint64(n - maxSeries), "amounts": uint64(n - maxSeries), "people": 0}
	report := func() {
		t.Helper()
		for slug, want := range dropped {
			if m, err := s.Metric(t.Context(), slug); err != nil || m.SeriesDropped != want {
				t.Errorf("%s reports %d observations over the bound, want %d, %v", slug, m.SeriesDropped, want, err)
			}
		}
	}
	report()
	peak = max(peak, s.peakMemory())
	t.Logf("%d events: %d MiB before, %d MiB at the peak, %d MiB in the end", n, before>>20, peak>>20, s.residentMemory()>>20)
	s.kill() // what is known of series is loaded again
	began := time.Now()
	s.start()
	t.Logf("ready %s after it was killed", time.Since(began))
	// A new value is still over the bound, and a known one still known.
	one := func(i int) client.Event {
		return client.Event{Source: fmt.Sprintf("source-%d", i), Type: fmt.Sprintf("wide.%d", i), Subject: "again", Data: map[string]any{"key": fmt.Sprintf("key-%d", i), "amount": 0}}
	}
	s.send(one(n), one(0))
	eventually(t, time.Minute, func() error {
		if got := sum(ask("people", "count")); got != float64(n+2) {
			return fmt.Errorf("%v of %d events counted", got, n+2)
		}
		return nil
	})
	for slug := range dropped {
		if slug != "people" {
			dropped[slug]++
		}
	}
	report()
	s.wantNoErrors()
}
