package rollup

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// day is a day of so many tenants: rows of each hour in a file, merged into as many files as a store that was written to all day has.
func day(b *testing.B, tenants int) *Set {
	b.Helper()
	dir := b.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	builder := NewBuilder()
	set := &Set{}
	rows, bytes := 0, int64(0)
	for part := range 3 {
		var young []*File
		for hour := range 8 {
			all := vendors(tenants, 60, 12, r)
			for _, u := range all {
				u.Start = u.Start.Add(time.Duration(part*8+hour) * time.Hour)
				u.Agg.LastAt += int64(part*8+hour) * int64(time.Hour)
			}
			young = append(young, built(b, builder, filepath.Join(dir, fmt.Sprint(part, "-", hour)), all))
		}
		path := filepath.Join(dir, fmt.Sprint(part))
		info, err := builder.Merge(b.Context(), young, true, path)
		if err != nil {
			b.Fatal(err)
		}
		rows, bytes = rows+info.Rows, bytes+info.Bytes
		set.Files = append(set.Files, opened(b, path))
	}
	b.Logf("%d tenants: %d rows of minutes, %.1f bytes each, hours and days included", tenants, rows, float64(bytes)/float64(rows))
	return set
}

// cpu reports the processor time of each of n things in an operation: on a machine that does other things as well it is the number to trust.
func cpu(b *testing.B, n int) func() {
	b.Helper()
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := spent()
	return func() { b.ReportMetric(float64(spent()-begin)/float64(b.N)/float64(n)/1e3, "cpu-µs") }
}

// BenchmarkADayByTheMinute asks one tenant's charts of a day by the minute, of 10 tenants and of ten times as many.
func BenchmarkADayByTheMinute(b *testing.B) {
	for _, tenants := range []int{10, 100} {
		if tenants > 10 && testing.Short() {
			continue
		}
		set := day(b, tenants)
		r := &Reader{}
		for name, q := range map[string]store.RollupQuery{
			"events": {Metric: 1, Scalars: true}, "events_by_type": {Metric: 1, Scalars: true, GroupBy: []int{1}}, "charges": {Metric: 2, Scalars: true},
			"charges_p95": {Metric: 2}, "messages": {Metric: 3, Scalars: true},
		} {
			q.Step, q.From, q.To = time.Minute, start(), start().Add(24*time.Hour)
			if err := Check(&q); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprint(name, "/of_", tenants, "_tenants"), func(b *testing.B) {
				b.ReportAllocs()
				defer cpu(b, 1)()
				for i := 0; b.Loop(); i++ {
					n := 0
					err := r.Rollups(b.Context(), set, tenantName(i*7%tenants), &q, func(*series.Rollup) error { n++; return nil })
					if err != nil || n < 1400 {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	rows := vendors(50, 30, 12, rand.New(rand.NewPCG(1, 2)))
	Sort(rows)
	builder := NewBuilder()
	path := filepath.Join(b.TempDir(), "a")
	var info Info
	report := cpu(b, len(rows))
	for b.Loop() {
		var err error
		if info, err = builder.Build(rows, path); err != nil {
			b.Fatal(err)
		}
	}
	report()
	b.ReportMetric(float64(info.Bytes)/float64(info.Rows), "B/row")
}

func BenchmarkMerge(b *testing.B) {
	dir := b.TempDir()
	builder := NewBuilder()
	r := rand.New(rand.NewPCG(1, 2))
	for name, shift := range map[string]time.Duration{"same_minutes": 0, "other_minutes": 10 * time.Minute} {
		var files []*File
		n := 0
		for part := range 8 {
			rows := vendors(50, 10, 12, r)
			for _, u := range rows {
				u.Start = u.Start.Add(time.Duration(part) * shift)
				u.Agg.LastAt += int64(part) * int64(shift)
			}
			n += len(rows)
			files = append(files, built(b, builder, filepath.Join(dir, fmt.Sprint(name, part)), rows))
		}
		for _, long := range []bool{false, true} {
			b.Run(fmt.Sprint(name, "/long_", long), func(b *testing.B) {
				var info Info
				defer cpu(b, n)()
				for b.Loop() {
					var err error
					if info, err = builder.Merge(b.Context(), files, long, filepath.Join(dir, "merged")); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(info.Bytes)/float64(info.Rows), "B/row")
			})
		}
	}
}

// TestAllocationsOfAChartDoNotGrowWithItsRows: a chart of plain numbers allocates for its groups, whatever it reads.
func TestAllocationsOfAChartDoNotGrowWithItsRows(t *testing.T) {
	dir := t.TempDir()
	builder := NewBuilder()
	r := &Reader{}
	count := func(minutes int) float64 {
		rows := vendors(1, minutes, 12, rand.New(rand.NewPCG(1, 2)))
		set := &Set{Files: []*File{built(t, builder, filepath.Join(dir, fmt.Sprint(minutes)), rows)}}
		q := store.RollupQuery{Metric: 2, Step: time.Minute, Bucket: time.Minute, GroupBy: []int{0}, Scalars: true}
		ask := func() {
			if err := r.Rollups(t.Context(), set, tenantName(0), &q, func(*series.Rollup) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		ask() // memory has grown to what it will be
		return testing.AllocsPerRun(20, ask)
	}
	few, many := count(20), count(400)
	if few > 40 || many > few+5 {
		t.Errorf("%v allocations for 20 minutes, %v for 400", few, many)
	}
}
