package backup_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// places are those of a data directory.
func places(dir string) backup.Places {
	return backup.Places{DataDir: dir, EventsPath: filepath.Join(dir, "events.duckdb"), CatalogPath: filepath.Join(dir, "catalog.sqlite"), LogDir: filepath.Join(dir, "log")}
}

func target(dir string) backup.Target {
	return backup.Target{Places: places(dir), MaxSeries: 5000, Threads: 2, Logger: slog.New(slog.DiscardHandler), Now: time.Now}
}

// charges are events like a payment provider's, spread over a day.
func charges(seq uint64, n int, random *rand.Rand) []event.Stored {
	countries, brands := []string{"DE", "FR", "US", "GB", "JP", "BR", "IN", "ES"}, []string{"visa", "mastercard", "amex"}
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	out := make([]event.Stored, n)
	for i := range out {
		at := begin.Add(time.Duration(seq)*100*time.Millisecond + time.Duration(random.IntN(1e9)))
		id := fmt.Sprintf("evt_%016x%08x", random.Uint64(), i)
		out[i] = event.Stored{Tenant: "default", Position: event.Position{Seq: seq, Index: uint32(i)}, Event: event.Event{
			ID: id, Source: "stripe", Type: []string{"charge.succeeded", "charge.failed", "invoice.paid", "customer.updated"}[random.IntN(4)],
			Subject: fmt.Sprintf("cus_%05d", random.IntN(20_000)), Time: at, Received: at.Add(30 * time.Millisecond), Identified: true,
			Data: fmt.Appendf(nil, `{"id":"ch_%016x","object":"charge","amount":%d,"currency":"eur","livemode":true,"card":{"country":%q,"brand":%q,"last4":"%04d"},"description":"order %d","paid":true}`,
				random.Uint64(), 100+random.IntN(50_000), countries[random.IntN(8)], brands[random.IntN(3)], random.IntN(10_000), random.IntN(1e6))}}
	}
	return out
}

// fill makes an installation with events, in messages of 100, and metrics of one tenant.
func fill(b testing.TB, dir string, events, metrics int) {
	b.Helper()
	fatal := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	p := places(dir)
	fatal(os.MkdirAll(dir, 0o700))
	fatal(os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	things, err := sqlite.Open(b.Context(), sqlite.Config{Path: p.CatalogPath})
	fatal(err)
	body, err := json.Marshal(tenant.Tenant{ID: "default", Name: "Default"})
	fatal(err)
	_, err = things.Put(b.Context(), store.Put{Tenant: "default", Kind: store.KindTenant, Slug: "default", Body: body, At: time.Now()})
	fatal(err)
	for i := range metrics {
		body, err := json.Marshal(metric.Definition{Slug: fmt.Sprint("m", i), EventTypes: []string{"charge.*"}, Value: "data.amount / 100.0", Dimensions: map[string]string{"country": "data.card.country", "brand": "data.card.brand"}})
		fatal(err)
		_, err = things.Put(b.Context(), store.Put{Tenant: "default", Kind: store.KindMetric, Slug: fmt.Sprint("m", i), Body: body, At: time.Now()})
		fatal(err)
	}
	fatal(things.Close())
	messages := uint64(events / 100)
	bus1, err := bus.Open(b.Context(), bus.Config{Dir: p.LogDir, Partitions: 1, Begin: []bus.Beginning{{Seq: messages}}, Log: log})
	fatal(err)
	incarnation, _, _, err := bus1.Tail(b.Context(), 0)
	fatal(err)
	bus1.Close()
	s, err := duckdb.Open(b.Context(), duckdb.Config{Path: p.EventsPath, Log: log})
	fatal(err)
	random := rand.New(rand.NewPCG(1, 2))
	var offset store.Offset
	for seq := uint64(1); seq <= messages; {
		c := &store.Commit{From: offset}
		for range 200 {
			if seq <= messages {
				c.Events = append(c.Events, charges(seq, 100, random)...)
				seq++
			}
		}
		c.To = store.Offset{Incarnation: incarnation, Seq: seq - 1}
		offset, err = s.Commit(b.Context(), c)
		fatal(err)
	}
	fatal(s.Close())
}

// BenchmarkMillionEvents backs a million events up and restores them, with the built-in metric and five others.
func BenchmarkMillionEvents(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	fill(b, filepath.Join(dir, "data"), n, 5)
	for i := 0; b.Loop(); i++ {
		start := cpu()
		to := filepath.Join(dir, fmt.Sprint("backup", i))
		r, err := backup.Make(b.Context(), backup.Settings{Places: places(filepath.Join(dir, "data")), To: to, Threads: 2, Logger: slog.New(slog.DiscardHandler), Now: time.Now}, nil)
		if err != nil || r.Events != n {
			b.Fatal(r, err)
		}
		backedUp := cpu()
		began := time.Now()
		if _, err := backup.Verify(b.Context(), to, nil); err != nil {
			b.Fatal(err)
		}
		verified := time.Since(began)
		before := cpu()
		restored, err := backup.Restore(b.Context(), to, target(filepath.Join(dir, fmt.Sprint("restored", i))), nil)
		if err != nil || restored.Events != n {
			b.Fatal(restored, err)
		}
		b.ReportMetric(size(b, places(filepath.Join(dir, "data")).EventsPath)/n, "store-bytes/event")
		b.ReportMetric(size(b, places(filepath.Join(dir, fmt.Sprint("restored", i))).EventsPath)/n, "restored-store-bytes/event")
		b.ReportMetric((backedUp - start).Seconds(), "backup-cpu-s")
		b.ReportMetric((cpu() - before).Seconds(), "restore-cpu-s")
		b.ReportMetric(n/r.Took.Seconds(), "backup-events/s")
		b.ReportMetric(n/restored.Took.Seconds(), "restore-events/s")
		b.ReportMetric(float64(r.Bytes)/n, "bytes/event")
		b.ReportMetric(verified.Seconds(), "verify-s")
	}
}

// cpu is what this process has used of the processors: on a busy machine it says more than the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func size(b testing.TB, path string) float64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size())
}
