package storetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// model is what a store of rollups should answer, by merging in memory.
type model struct{ rows []series.Rollup }

// random makes n partial rollups of acme's metric 1: 3 × 4 series over two hours, with values that meet in every way.
func (m *model) random(r *rand.Rand, n int) []series.Rollup {
	var rows []series.Rollup
	for range n {
		at := noon().Add(time.Duration(r.IntN(120)) * time.Minute)
		var a series.Agg
		for range 1 + r.IntN(5) {
			a.Add(series.Observation{
				At: at.Add(time.Duration(r.IntN(60)) * time.Second), Value: math.Round(r.NormFloat64()*1000) / 10, Numeric: r.IntN(5) > 0,
				Distinct: r.Uint64N(300) * 0x9e3779b97f4a7c15, HasDistinct: r.IntN(3) > 0,
			})
		}
		rows = append(rows, series.Rollup{
			Tenant: acme, Metric: 1, Step: time.Minute, Start: at, Agg: a,
			Labels: series.Labels{[]string{"DE", "FR", "US"}[r.IntN(3)], []string{"ok", "failed", "", "pending"}[r.IntN(4)]},
		})
	}
	m.rows = append(m.rows, rows...)
	return rows
}

// answer merges what the query selects.
func (m *model) answer(q store.RollupQuery) []series.Rollup {
	bucket := q.Bucket
	if bucket == 0 {
		bucket = q.Step
	}
	var out []series.Rollup
	place := map[string]int{}
	for _, row := range m.rows {
		row.Start = series.Align(row.Start, q.Step)
		if row.Metric != q.Metric || row.Start.Before(q.From) || !row.Start.Before(q.To) {
			continue
		}
		matches := true
		for i, values := range q.Where {
			matches = matches && slices.Contains(values, row.Labels[i])
		}
		if !matches {
			continue
		}
		var labels series.Labels
		for _, i := range q.GroupBy {
			labels = append(labels, row.Labels[i])
		}
		start := series.Align(row.Start, bucket)
		key := fmt.Sprintf("%d %q", start.UnixNano(), labels)
		i, ok := place[key]
		if !ok {
			i = len(out)
			place[key] = i
			out = append(out, series.Rollup{Tenant: acme, Metric: q.Metric, Labels: labels, Step: bucket, Start: start})
		}
		out[i].Agg.Merge(&row.Agg)
	}
	sortRollups(out)
	return out
}

func sortRollups(rows []series.Rollup) {
	slices.SortFunc(rows, func(a, b series.Rollup) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return slices.Compare(a.Labels, b.Labels)
	})
}

// rollup prints all that can be asked of one. Sums are rounded: they depend on the order of addition.
func rollup(r *series.Rollup, scalars bool) string {
	a := &r.Agg
	s := fmt.Sprintf("%v %q of %d at %v: %d, %d, %.6f, %v, %v, %v at %d", r.Step, []string(r.Labels), r.Metric, r.Start.UnixNano(),
		a.Count, a.Values, a.Sum+0, a.Min, a.Max, a.Last, a.LastAt)
	if scalars {
		return s
	}
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		v, ok := a.Quantile(q)
		s += fmt.Sprint(" ", v, ok)
	}
	return s + fmt.Sprint(" ", a.Unique())
}

func (b *bench) sameRollups(what string, got, want []series.Rollup, scalars bool) {
	b.t.Helper()
	if !slices.IsSortedFunc(got, func(x, y series.Rollup) int { return x.Start.Compare(y.Start) }) {
		b.t.Errorf("%s: rollups are not ordered by start", what)
	}
	sortRollups(got)
	if len(got) != len(want) {
		b.t.Errorf("%s: %d rollups, want %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if g, w := rollup(&got[i], scalars), rollup(&want[i], scalars); g != w {
			b.t.Errorf("%s: rollup %d:\n got %s\nwant %s", what, i, g, w)
			return
		}
	}
}

// day is a query of all that the model makes.
func day(change func(*store.RollupQuery)) store.RollupQuery {
	q := store.RollupQuery{Metric: 1, Step: time.Minute, From: noon(), To: noon().Add(24 * time.Hour)}
	if change != nil {
		change(&q)
	}
	return q
}

// filled is a store with 600 random rollups, each several times partial, and some that must not be seen.
func (b *bench) filled() *model {
	b.t.Helper()
	m := &model{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 6 {
		b.commit(store.Commit{Rollups: append(m.random(r, 400), foreign(r)...)})
	}
	return m
}

// foreign makes rollups that a query of acme's metric 1 must not see.
func foreign(r *rand.Rand) []series.Rollup {
	rows := (&model{}).random(r, 2)
	rows[0].Tenant = other
	rows[1].Metric = 2
	return rows
}

func rollupsMergeLikeInMemory(_ *testing.T, b *bench) {
	m := b.filled()
	for _, by := range [][]int{nil, {0}, {1}, {0, 1}, {1, 0}} {
		q := day(func(q *store.RollupQuery) { q.GroupBy = by })
		b.sameRollups(fmt.Sprint("grouped by ", by), b.rollups(acme, q), m.answer(q), false)
	}
	b.restart()
	q := day(func(q *store.RollupQuery) { q.GroupBy = []int{0, 1} })
	b.sameRollups("after a restart", b.rollups(acme, q), m.answer(q), false)
}

func scalarsAreTheSame(_ *testing.T, b *bench) {
	m := b.filled()
	for _, by := range [][]int{nil, {0}, {0, 1}} {
		q := day(func(q *store.RollupQuery) { q.GroupBy, q.Scalars, q.Bucket = by, true, 10*time.Minute })
		b.sameRollups(fmt.Sprint("grouped by ", by), b.rollups(acme, q), m.answer(q), true)
	}
}

func rollupsAreRestricted(_ *testing.T, b *bench) {
	m := b.filled()
	for _, where := range []map[int][]string{
		{0: {"DE"}}, {0: {"DE", "US"}}, {1: {""}}, {0: {"DE"}, 1: {"ok", "failed"}}, {0: {"XX"}}, {0: {"DE"}, 1: {}}, {},
	} {
		for _, by := range [][]int{nil, {1}} {
			q := day(func(q *store.RollupQuery) { q.Where, q.GroupBy = where, by })
			b.sameRollups(fmt.Sprintf("where %v by %v", where, by), b.rollups(acme, q), m.answer(q), false)
		}
	}
}

func rollupsAreGrouped(t *testing.T, b *bench) {
	m := b.filled()
	q := day(func(q *store.RollupQuery) { q.GroupBy, q.Bucket = []int{1, 0}, 24*time.Hour })
	got := b.rollups(acme, q)
	b.same("number of groups", len(got), len(m.answer(q)))
	for _, r := range got {
		if len(r.Labels) != 2 || !slices.Contains([]string{"DE", "FR", "US"}, r.Labels[1]) {
			t.Errorf("labels are %q, want status and country", r.Labels)
		}
	}
	q.GroupBy = nil
	if all := b.rollups(acme, q); len(all) == 0 || len(all[0].Labels) != 0 {
		t.Errorf("without groups the labels are %v", all)
	}
}

func bucketsAreAligned(_ *testing.T, b *bench) {
	m := b.filled()
	for _, bucket := range []time.Duration{time.Minute, 5 * time.Minute, 7 * time.Minute, time.Hour, 36 * time.Hour} {
		q := day(func(q *store.RollupQuery) {
			q.Bucket, q.From, q.To = bucket, noon().Add(13*time.Minute), noon().Add(77*time.Minute)
		})
		b.sameRollups(fmt.Sprint("buckets of ", bucket), b.rollups(acme, q), m.answer(q), false)
	}
}

func rollupsAreNotMixed(t *testing.T, b *bench) {
	m := &model{}
	r := rand.New(rand.NewPCG(3, 4))
	var rows []series.Rollup
	for metric := range int64(3) {
		for _, row := range m.random(r, 150) {
			row.Metric = metric
			rows = append(rows, row)
		}
	}
	m.rows = rows
	b.commit(store.Commit{Rollups: rows})
	for range 3 {
		for _, step := range series.Resolutions() { // the longer ones are made of the minutes
			for metric := range int64(4) {
				q := day(func(q *store.RollupQuery) { q.Step, q.Metric, q.From = step, metric, noon().AddDate(0, 0, -2) })
				b.sameRollups(fmt.Sprint("metric ", metric, " at ", step), b.rollups(acme, q), m.answer(q), false)
			}
		}
		b.compact()
		b.restart()
	}
	q := day(func(q *store.RollupQuery) { q.From, q.To = noon().Add(30*time.Minute), noon().Add(31*time.Minute) })
	b.sameRollups("one minute", b.rollups(acme, q), m.answer(q), false)
	for _, wrong := range []store.RollupQuery{
		day(func(q *store.RollupQuery) { q.Step = time.Second }),
		day(func(q *store.RollupQuery) { q.Bucket = 90 * time.Second }),
	} {
		if err := b.Rollups(b.ctx, acme, wrong, func(*series.Rollup) error { return nil }); err == nil {
			t.Errorf("a query of step %v and bucket %v was answered", wrong.Step, wrong.Bucket)
		}
	}
}

func rollupsWithoutNumbers(t *testing.T, b *bench) {
	var a, n series.Agg
	a.Add(series.Observation{At: noon()})
	n.Add(series.Observation{At: noon(), Value: -5, Numeric: true})
	row := func(start time.Time, a series.Agg) series.Rollup {
		return series.Rollup{Tenant: acme, Metric: 1, Step: time.Minute, Start: start, Agg: a}
	}
	b.commit(store.Commit{Rollups: []series.Rollup{row(noon(), a), row(noon().Add(time.Minute), n), row(noon().Add(time.Minute), a)}})
	for _, scalars := range []bool{false, true} {
		got := b.rollups(acme, day(func(q *store.RollupQuery) { q.Scalars = scalars }))
		if len(got) != 2 {
			t.Fatalf("%d rollups, want 2", len(got))
		}
		if v, ok := got[0].Agg.Value(series.Min, time.Minute); ok || got[0].Agg.Count != 1 {
			t.Errorf("minimum %v of %d observations without numbers", v, got[0].Agg.Count)
		}
		b.same("one of two has a number", []any{got[1].Agg.Count, got[1].Agg.Values, got[1].Agg.Min, got[1].Agg.Max, got[1].Agg.Last}, []any{2, 1, -5, -5, -5})
	}
}

func labelsMayBeAnyText(_ *testing.T, b *bench) {
	m := &model{}
	for i, a := range naughty() {
		for j, c := range naughty() {
			if (i+j)%7 > 0 && i != j {
				continue
			}
			var agg series.Agg
			agg.Add(series.Observation{At: noon(), Value: float64(i*100 + j), Numeric: true})
			m.rows = append(m.rows, series.Rollup{Tenant: acme, Metric: 1, Labels: series.Labels{a, c}, Step: time.Minute, Start: noon(), Agg: agg})
		}
	}
	b.commit(store.Commit{Rollups: m.rows})
	for range 2 {
		q := day(func(q *store.RollupQuery) { q.GroupBy = []int{0, 1} })
		b.sameRollups("all labels", b.rollups(acme, q), m.answer(q), false)
		for _, text := range naughty() {
			q.Where = map[int][]string{1: {text}}
			b.sameRollups(fmt.Sprintf("where %q", text), b.rollups(acme, q), m.answer(q), false)
		}
		b.compact()
	}
}

func rollupsOfALongTime(_ *testing.T, b *bench) {
	m := &model{}
	for i := range 3000 {
		var agg series.Agg
		agg.Add(series.Observation{At: noon(), Value: float64(i), Numeric: true})
		// Some minutes have a neighbour, some are years away from it.
		at := series.Align(noon().Add(time.Duration(i)*time.Minute+time.Duration(i/1000)*9000*time.Hour), time.Minute)
		m.rows = append(m.rows, series.Rollup{Tenant: acme, Metric: 1, Labels: series.Labels{fmt.Sprint(i % 2)}, Step: time.Minute, Start: at, Agg: agg})
	}
	b.commit(store.Commit{Rollups: m.rows})
	for _, from := range []time.Time{noon(), noon().AddDate(-20, 0, 0), time.Unix(0, 0)} {
		q := day(func(q *store.RollupQuery) { q.GroupBy, q.From, q.To = []int{0}, from, noon().AddDate(30, 0, 0) })
		b.sameRollups("since "+from.String(), b.rollups(acme, q), m.answer(q), false)
	}
}

func compactionChangesNothing(_ *testing.T, b *bench) {
	m := b.filled()
	r := rand.New(rand.NewPCG(5, 6))
	for range 3 {
		b.compact()
		for _, by := range [][]int{nil, {0, 1}} {
			q := day(func(q *store.RollupQuery) { q.GroupBy = by })
			b.sameRollups("compacted", b.rollups(acme, q), m.answer(q), false)
		}
		b.same("rollups of another tenant", len(b.rollups(other, day(nil))) > 0, true)
		b.commit(store.Commit{Rollups: m.random(r, 300)})
		b.restart()
		b.commit(store.Commit{Rollups: m.random(r, 300)})
	}
	q := day(func(q *store.RollupQuery) { q.GroupBy = []int{0, 1} })
	b.compact()
	b.sameRollups("in the end", b.rollups(acme, q), m.answer(q), false)
}

func compactionWhileCommitting(t *testing.T, b *bench) {
	compacting, ok := b.Events.(interface {
		Compact(ctx context.Context) (int, error)
	})
	if !ok {
		t.Skip("this store has no compaction")
	}
	const commits, each = 60, 40
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			if _, err := compacting.Compact(b.ctx); err != nil {
				t.Errorf("Compact: %v", err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	others.Go(func() {
		last := uint64(0)
		for last < commits*each {
			n := b.count(acme)
			if n < last || n%each != 0 {
				t.Errorf("counted %d observations after %d", n, last)
				return
			}
			last = n
		}
	})
	m := &model{}
	for i := range commits {
		rows := m.random(rand.New(rand.NewPCG(uint64(i), 1)), each)
		for j := range rows {
			var one series.Agg
			one.Add(series.Observation{At: rows[j].Start})
			rows[j].Agg = one
		}
		b.commit(store.Commit{Rollups: rows})
	}
	close(done)
	others.Wait()
}

// count is how many observations metric 1 has in all.
func (b *bench) count(t tenant.ID) uint64 {
	var n uint64
	err := b.Rollups(b.ctx, t, day(func(q *store.RollupQuery) { q.Scalars = true }), func(r *series.Rollup) error {
		n += r.Agg.Count
		return nil
	})
	if err != nil && !strings.Contains(err.Error(), "context canceled") {
		b.t.Errorf("Rollups: %v", err)
	}
	return n
}
