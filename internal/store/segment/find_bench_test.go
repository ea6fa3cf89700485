package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// BenchmarkFind looks for events among 40 segments of 2^18 events, as the store flushes them. They are made in the folder that
// PULSESTREAM_BENCH_DIR names, which takes a minute, and used again.
func BenchmarkFind(b *testing.B) {
	dir := os.Getenv("PULSESTREAM_BENCH_DIR")
	if dir == "" {
		b.Skip("PULSESTREAM_BENCH_DIR names no folder for half a gigabyte of segments")
	}
	const segments = 40
	some := make([]event.Stored, 0, 100*segments)
	open := func(b *testing.B) *Set {
		set := &Set{}
		for i := range segments {
			s, err := Open(filepath.Join(dir, fmt.Sprintf("%03d.seg", i)))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Release() })
			set.Segments = append(set.Segments, s)
		}
		return set
	}
	builder := NewBuilder()
	for i := range segments {
		path := filepath.Join(dir, fmt.Sprintf("%03d.seg", i))
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if _, err := builder.Build(tailOf(vendorsOf(uint64(100+i), 1<<18)), path); err != nil {
			b.Fatal(err)
		}
	}
	var r Reader
	for i, seg := range open(b).Segments {
		n := 0
		err := r.All(b.Context(), seg, func(ev *event.Stored) {
			if n++; n%2621 == 0 {
				own := held(ev)
				some = append(some, own)
			}
		})
		if err != nil {
			b.Fatal(i, err)
		}
	}
	for _, first := range []bool{true, false} {
		b.Run(fmt.Sprintf("first_%v", first), func(b *testing.B) {
			set := open(b)
			var all effort
			look := func(i int) {
				ev := &some[i*7919%len(some)]
				_, found, cost, err := r.find(b.Context(), set, ev.Tenant, ev.Source, ev.ID)
				if err != nil || !found {
					b.Fatal(found, err)
				}
				all.indexes, all.blocks = all.indexes+cost.indexes, all.blocks+cost.blocks
			}
			if !first {
				for i := range 1000 {
					look(i)
				}
			}
			all = effort{}
			report := cpu(b, 0)
			worst := time.Duration(0)
			for i := 0; b.Loop(); i++ {
				from := time.Now()
				look(i)
				worst = max(worst, time.Since(from))
			}
			report()
			b.ReportMetric(float64(all.indexes)/float64(b.N), "indexes/op")
			b.ReportMetric(float64(all.blocks)/float64(b.N), "blocks/op")
			b.ReportMetric(worst.Seconds()*1e3, "worst-ms")
		})
	}
}
