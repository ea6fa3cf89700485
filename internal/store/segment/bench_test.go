package segment

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

// cpu reports the processor time of each operation, and of each event where an operation is about so many: on a machine that does other
// things as well it is the number to trust.
func cpu(b *testing.B, events int) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := used()
	return func() {
		each := float64(used()-begin) / float64(b.N)
		b.ReportMetric(each/1e6, "cpu-ms/op")
		if events > 0 {
			b.ReportMetric(each/1e3/float64(events), "cpu-µs/event")
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	all := vendors(1 << 18)
	b.ReportAllocs()
	defer cpu(b, len(all))()
	for b.Loop() {
		var tail Tail
		for i := range all {
			tail.Add(&all[i])
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	tail := tailOf(vendors(1 << 18))
	builder, path := NewBuilder(), filepath.Join(b.TempDir(), "a.seg")
	b.ReportAllocs()
	report := cpu(b, tail.Len())
	var info Info
	for b.Loop() {
		var err error
		if info, err = builder.Build(tail, path); err != nil {
			b.Fatal(err)
		}
	}
	report()
	b.ReportMetric(float64(info.Bytes)/float64(info.Rows), "bytes/event")
}

func BenchmarkRead(b *testing.B) {
	all := vendors(1 << 18)
	s := sealed(b, NewBuilder(), tailOf(all))
	set := &Set{Segments: []*Segment{s}}
	var r Reader
	t := all[len(all)-1].Tenant
	rows := s.tenant(t).rows
	for name, limit := range map[string]int{"1": 1, "100": 100} {
		b.Run("page/newest_"+name, func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b, 0)()
			for b.Loop() {
				if page, err := r.Page(b.Context(), set, t, store.Page{Limit: limit}); err != nil || len(page) != limit {
					b.Fatal(len(page), err)
				}
			}
		})
	}
	b.Run("find", func(b *testing.B) {
		defer cpu(b, 0)()
		for i := 0; b.Loop(); i += 7919 {
			ev := &all[i%len(all)]
			if _, found, err := r.Find(b.Context(), set, ev.Tenant, ev.Source, ev.ID); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
	for _, without := range []bool{false, true} {
		b.Run(fmt.Sprintf("scan/without_data_%v", without), func(b *testing.B) {
			defer cpu(b, rows)()
			for b.Loop() {
				if err := r.Scan(b.Context(), set, t, store.Scan{WithoutData: without}, func(*event.Stored) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("rows", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b, rows)()
		for b.Loop() {
			if err := r.Rows(b.Context(), set, t, store.EventFilter{}, func(_ []event.Stored, _ float64, release func()) error { release(); return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("identities", func(b *testing.B) {
		defer cpu(b, len(all))()
		for b.Loop() {
			if err := r.Identities(b.Context(), set, 0, time.Time{}, func(store.Identity) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
