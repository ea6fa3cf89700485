package rollup

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// start is where the rollups of tests begin.
func start() time.Time { return time.Date(2026, 3, 14, 22, 0, 0, 0, time.UTC) }

// generator makes rollups of a few tenants and metrics that meet in every way.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 7))} }

func (g generator) agg(at time.Time, n int) (a series.Agg) {
	for range n {
		o := series.Observation{At: at.Add(time.Duration(g.IntN(60_000)) * time.Millisecond)}
		if g.IntN(4) > 0 {
			o.Numeric = true
			switch g.IntN(10) {
			case 0:
				o.Value = g.NormFloat64()
			case 1:
				o.Value = 0
			default:
				o.Value = float64(g.IntN(100_000)) / 100
			}
		}
		if g.IntN(3) == 0 {
			o.Distinct, o.HasDistinct = g.Uint64N(500)*0x9e3779b97f4a7c15, true
		}
		a.Add(o)
	}
	return a
}

// minutes makes n rollups.
func (g generator) minutes(n, span int) (rows []*series.Rollup) {
	for range n {
		u := &series.Rollup{Tenant: tenant.ID(fmt.Sprint("t", g.IntN(3))), Metric: int64(g.IntN(3)) - 1, Step: time.Minute, Start: start().Add(time.Duration(g.IntN(span)) * time.Minute)}
		u.Labels = series.Labels{[]string{"DE", "FR", "", "US"}[g.IntN(4)], fmt.Sprint("s", g.IntN(5)), "x"}[:2+g.IntN(2)]
		if u.Metric == 0 {
			u.Labels = nil
		}
		u.Agg = g.agg(u.Start, 1+g.IntN(6))
		rows = append(rows, u)
	}
	return rows
}

// built is a file of rollups, whose equal ones have been merged as a store's memory does.
func built(t testing.TB, b *Builder, path string, rows []*series.Rollup) *File {
	t.Helper()
	sorted := slices.Clone(rows)
	Sort(sorted)
	if _, err := b.Build(sorted, path); err != nil {
		t.Fatal(err)
	}
	return opened(t, path)
}

func opened(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Release(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// expected is the answer to a query by going through everything.
func expected(rows []*series.Rollup, t tenant.ID, q *store.RollupQuery) []series.Rollup {
	var out []series.Rollup
	place := map[string]int{}
	for _, u := range rows {
		if u.Tenant != t || u.Metric != q.Metric || !Wanted(q, u) {
			continue
		}
		labels := make(series.Labels, len(q.GroupBy))
		for at, i := range q.GroupBy {
			if i < len(u.Labels) {
				labels[at] = u.Labels[i]
			}
		}
		at := series.Align(u.Start, q.Bucket)
		key := fmt.Sprintf("%d %q", at.UnixNano(), labels)
		i, ok := place[key]
		if !ok {
			i = len(out)
			place[key] = i
			out = append(out, series.Rollup{Tenant: t, Metric: q.Metric, Labels: labels, Step: q.Bucket, Start: at})
		}
		if q.Scalars {
			a := u.Agg.Scalars()
			out[i].Agg.MergeScalars(&a)
		} else {
			out[i].Agg.Merge(&u.Agg)
		}
	}
	slices.SortFunc(out, func(a, b series.Rollup) int {
		return cmp.Or(a.Start.Compare(b.Start), slices.CompareFunc(a.Labels, b.Labels, strings.Compare))
	})
	return out
}

func query(t testing.TB, r *Reader, set *Set, of tenant.ID, q store.RollupQuery) (got []series.Rollup) {
	t.Helper()
	young := slices.Clone(set.Young)
	young = slices.DeleteFunc(young, func(u series.Rollup) bool { return u.Tenant != of || u.Metric != q.Metric || !Wanted(&q, &u) })
	err := r.Rollups(t.Context(), &Set{Files: set.Files, Young: young}, of, &q, func(u *series.Rollup) error {
		c := *u
		c.Labels = slices.Clone(u.Labels)
		c.Agg = *u.Agg.Clone()
		got = append(got, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// differ says what is different about two answers; sums depend on the order of addition.
func differ(got, want []series.Rollup) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d rollups, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := &got[i], &want[i]
		same := g.Tenant == w.Tenant && g.Metric == w.Metric && g.Step == w.Step && g.Start.Equal(w.Start) && slices.Equal(g.Labels, w.Labels)
		x, y := &g.Agg, &w.Agg
		same = same && x.Count == y.Count && x.Values == y.Values && x.Min == y.Min && x.Max == y.Max && x.Last == y.Last && x.LastAt == y.LastAt &&
			math.Abs(x.Sum-y.Sum) <= 1e-6 && sketches(x) == sketches(y)
		if !same {
			return fmt.Sprintf("rollup %d is\n%+v, want\n%+v", i, *g, *w)
		}
	}
	return ""
}

// sketches are what the sketches tell.
func sketches(a *series.Agg) string {
	keys, many := a.DistinctKeys(nil)
	return fmt.Sprintf("%d %d %x %x", a.Unique(), keys, many, a.AppendQuantiles(nil))
}

func (g generator) query() store.RollupQuery {
	q := store.RollupQuery{Metric: int64(g.IntN(3)) - 1, Step: series.Resolutions()[g.IntN(3)], Scalars: g.IntN(2) == 0}
	q.Bucket = q.Step * time.Duration(1+g.IntN(3)*g.IntN(10))
	if g.IntN(2) == 0 {
		q.From = start().Add(time.Duration(g.IntN(200)-50) * time.Minute)
	}
	if g.IntN(2) == 0 {
		q.To = start().Add(time.Duration(g.IntN(300)) * time.Minute)
	}
	for i := range 3 {
		if g.IntN(2) == 0 {
			q.GroupBy = append(q.GroupBy, i)
		}
		if g.IntN(5) == 0 {
			q.Where = map[int][]string{i: []string{"DE", "s1", "x", ""}[:1+g.IntN(4)]}
		}
	}
	return q
}

// However rollups are spread over files, and however those are merged, the answers are those of going through all of them.
func TestFilesAnswerAsGoingThroughAllRollupsWould(t *testing.T) {
	dir := t.TempDir()
	b, r := NewBuilder(), &Reader{}
	for seed := range uint64(8) {
		g := newGenerator(seed)
		span := []int{1, 30, 300, 4000}[seed%4]
		var all []*series.Rollup
		set := &Set{}
		for n := range 6 {
			rows := g.minutes(1+g.IntN(900), span)
			all = append(all, rows...)
			if n == 5 {
				for _, u := range rows {
					set.Young = append(set.Young, series.Rollup{Tenant: u.Tenant, Metric: u.Metric, Labels: u.Labels, Step: u.Step, Start: u.Start, Agg: *u.Agg.Clone()})
				}
				break
			}
			set.Files = append(set.Files, built(t, b, filepath.Join(dir, fmt.Sprint(seed, "-", n)), rows))
		}
		check := func(what string) {
			t.Helper()
			for range 40 {
				q, of := g.query(), tenant.ID(fmt.Sprint("t", g.IntN(4)))
				if d := differ(query(t, r, set, of, q), expected(all, of, &q)); d != "" {
					t.Fatalf("seed %d, %s, %s %+v: %s", seed, what, of, q, d)
				}
			}
		}
		check("young files")
		merge := func(from, to int, long bool) {
			path := filepath.Join(dir, fmt.Sprint(seed, "-", from, "-", to, "-", long))
			info, err := b.Merge(t.Context(), set.Files[from:to], long, path)
			if err != nil {
				t.Fatal(err)
			}
			f := opened(t, path)
			if f.Rows() != info.Rows || f.Size() != info.Bytes || f.long != (long || slices.ContainsFunc(set.Files[from:to], func(f *File) bool { return f.long })) {
				t.Errorf("merged: %+v, %d rows, %d bytes", info, f.Rows(), f.Size())
			}
			if err := f.Verify(func(int) error { return nil }); err != nil {
				t.Error(err)
			}
			set.Files = slices.Replace(slices.Clone(set.Files), from, to, f)
		}
		merge(1, 3, false)
		check("minutes merged")
		merge(0, 2, true)
		check("with hours and days")
		merge(0, 3, false)
		check("all in one")
	}
}

// A merge of many rows is cut into blocks, and gives away what is complete while it goes on.
func TestManyRowsAreMergedBlockByBlock(t *testing.T) {
	dir := t.TempDir()
	b := NewBuilder()
	var files []*File
	var all []*series.Rollup
	g := newGenerator(3)
	for n := range 3 {
		var rows []*series.Rollup
		for i := range 20_000 {
			at := start().Add(time.Duration(i/20) * time.Minute)
			rows = append(rows, &series.Rollup{Tenant: "t1", Metric: 1, Step: time.Minute, Start: at, Labels: series.Labels{fmt.Sprint(i % 20)}, Agg: g.agg(at, 1+n)})
		}
		all = append(all, rows...)
		files = append(files, built(t, b, filepath.Join(dir, fmt.Sprint(n)), rows))
	}
	path := filepath.Join(dir, "merged")
	if info, err := b.Merge(t.Context(), files, true, path); err != nil || info.Rows != 20_000 {
		t.Fatal(info, err)
	}
	one := &Set{Files: []*File{opened(t, path)}}
	for _, q := range []store.RollupQuery{
		{Metric: 1, Step: time.Minute, GroupBy: []int{0}}, {Metric: 1, Step: time.Minute, GroupBy: []int{0}, Scalars: true}, {Metric: 1, Step: time.Hour}, {Metric: 1, Step: 24 * time.Hour, GroupBy: []int{0}},
	} {
		q.Bucket = q.Step
		want := expected(all, "t1", &q)
		for name, set := range map[string]*Set{"three": {Files: files}, "one": one} {
			if d := differ(query(t, &Reader{}, set, "t1", q), want); d != "" {
				t.Errorf("%s, %+v: %s", name, q, d)
			}
		}
	}
}

// A tenant with hundreds of customers a minute has millions of distinct values in as many minutes as a block has rows: more than a reader takes.
func TestRowsOfManyDistinctValuesAreCutIntoBlocks(t *testing.T) {
	const each = 200
	var rows []*series.Rollup
	for i := range blockRows {
		at := start().Add(time.Duration(i) * time.Minute)
		u := &series.Rollup{Tenant: "t1", Metric: 1, Step: time.Minute, Start: at, Labels: series.Labels{"a"}}
		for k := range each {
			u.Agg.Add(series.Observation{Distinct: uint64(i*each/2+k+1) * 0x9e3779b97f4a7c15, HasDistinct: true}) // half of them are also the next minute's
		}
		rows = append(rows, u)
	}
	q := store.RollupQuery{Metric: 1, Step: time.Minute, Bucket: 24 * time.Hour, GroupBy: []int{0}}
	want := expected(rows, "t1", &q)
	dir := t.TempDir()
	b := NewBuilder()
	half := len(rows) / 2
	files := []*File{built(t, b, filepath.Join(dir, "a"), rows[:half]), built(t, b, filepath.Join(dir, "b"), rows[half:])}
	if _, err := b.Merge(t.Context(), files, true, filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	merged := opened(t, filepath.Join(dir, "c"))
	for name, set := range map[string]*Set{"two": {Files: files}, "one": {Files: []*File{merged}}} {
		if d := differ(query(t, &Reader{}, set, "t1", q), want); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if n := len(merged.tenants[0].of(1, 0)); n != 1+each*blockRows/blockKeys {
		t.Errorf("the minutes are in %d blocks", n)
	}

	// Such a block has been written.
	old := newEncoder()
	for _, u := range rows {
		old.add(u.Start.UnixNano(), u.Labels, &u.Agg)
	}
	old.sort()
	var d distinctKeys
	if err := d.read(old.appendDistinct(nil), len(rows), column.NewDecoder()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, len(rows) / 2, len(rows) - 1} {
		var a series.Agg
		if err := d.addTo(&a, i); err != nil || a.Unique() != rows[i].Agg.Unique() {
			t.Errorf("row %d has %v distinct values, want %v: %v", i, a.Unique(), rows[i].Agg.Unique(), err)
		}
	}
}

func TestNumbersComeBackToTheLastBit(t *testing.T) {
	g := newGenerator(9)
	var f floats
	kinds := map[string]func() float64{
		"cents": func() float64 { return float64(g.IntN(1e7)) / 100 },
		"sums of cents": func() (v float64) {
			for range 20 {
				v += float64(g.IntN(1e5)) / 100
			}
			return v
		},
		"any":      func() float64 { return math.Float64frombits(g.Uint64()) },
		"normal":   func() float64 { return g.NormFloat64() },
		"integers": func() float64 { return float64(g.IntN(1e6) - 5e5) },
		"special": func() float64 {
			return []float64{0, math.Copysign(0, -1), math.Inf(1), math.NaN(), 1e300, -1e-300, 1.5}[g.IntN(7)]
		},
		"mixed": func() float64 {
			if g.IntN(100) == 0 {
				return g.NormFloat64() * 1e9
			}
			return float64(g.IntN(1000)) / 10
		},
	}
	for name, of := range kinds {
		for _, n := range []int{0, 1, 2, 100, 5000} {
			values := make([]float64, n)
			for i := range values {
				values[i] = of()
			}
			b := f.append([]byte("x"), values)[1:]
			if limit := 8*n + 64; len(b) > limit {
				t.Errorf("%d %s take %d bytes", n, name, len(b))
			}
			got, err := f.decode(nil, b, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range values {
				if math.Float64bits(got[i]) != math.Float64bits(values[i]) {
					t.Fatalf("%s: %v has become %v", name, values[i], got[i])
				}
			}
			if n == 5000 {
				t.Logf("%s: %.1f bytes each", name, float64(len(b))/float64(n))
			}
		}
	}
}
