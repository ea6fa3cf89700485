package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// OfflineConfig says where the data are.
type OfflineConfig struct {
	DataDir     string
	EventsPath  string
	CatalogPath string
	LogDir      string
	// Ledger is compared with what is stored; nil for none. It is about one tenant's events.
	Ledger *ledger.Ledger
	Tenant tenant.ID // of the ledger
	Log    *slog.Logger
	Now    func() time.Time
}

// offline is a verification under way.
type offline struct {
	OfflineConfig
	report  *Report
	events  store.Events
	catalog *catalog.Registry
	bus     *bus.Bus
	holds   map[tenant.ID]quarantined
}

// Offline checks the data directory of a server that is stopped: that each store can be opened and is whole, that events and offsets
// agree with the log, that events are unique and rollups equal to raw events. What it finds is in the report; an error means that it
// could not look. The catalog is only read; opening the log mends what is damaged in it as the server's start would, keeping a copy.
func Offline(ctx context.Context, cfg OfflineConfig) (*Report, error) {
	began := cfg.Now()
	unlock, err := lock(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	v := &offline{OfflineConfig: cfg, report: &Report{Target: cfg.DataDir}, holds: map[tenant.ID]quarantined{}}
	closeAll, opened := v.open(ctx)
	defer closeAll()
	if opened {
		if err := v.verify(ctx, began); err != nil {
			return nil, err
		}
	}
	v.report.finish(began, cfg.Now())
	return v.report, nil
}

// lock keeps servers off, and refuses to look at the data of one that runs.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%s is not a data directory: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data directory %s is used by a running server: stop it, or ask it with --address", dir), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// open opens the three stores. One that cannot be opened is a violation, and then there is no more to compare.
func (v *offline) open(ctx context.Context) (closeAll func(), ok bool) {
	var closers []func()
	closeAll = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	c := v.report.check("the stores can be opened", "stores")
	try := func(path string, open func() error) {
		c.Looked++
		if _, err := os.Stat(path); err != nil {
			c.violation("%s is missing: %v", path, err)
			return
		}
		if err := open(); err != nil {
			c.violation("%s: %v", path, err)
		}
	}
	try(v.CatalogPath, func() error {
		damage, err := sqlite.Inspect(ctx, v.CatalogPath)
		if err != nil {
			return err
		}
		files := v.report.check("both files of the catalog are whole", "files")
		files.Looked = 2
		for _, d := range damage {
			files.violation("%v", d)
		}
		s, err := sqlite.Open(ctx, sqlite.Config{Path: v.CatalogPath, ReadOnly: true, Log: v.Log})
		if err != nil {
			return err
		}
		closers = append(closers, func() { _ = s.Close() })
		things := catalog.New(s, func(tenant.ID) {}, v.Now)
		v.catalog = catalog.NewRegistry(things, v.Log)
		return nil
	})
	try(v.EventsPath, func() error {
		s, err := duckdb.Open(ctx, duckdb.Config{Path: v.EventsPath, Log: v.Log, CompactEvery: -1, Now: v.Now})
		if err != nil {
			return err
		}
		closers = append(closers, func() { _ = s.Close() }) //nolint:contextcheck // closing is to be waited for, whatever ends the verification
		v.events = s
		return nil
	})
	try(v.LogDir, func() error {
		cfg := bus.Config{Dir: v.LogDir, Partitions: 1, VerifyAll: true, Log: v.Log}
		if v.events != nil {
			cfg.Committed = func(ctx context.Context, p int) (string, uint64, error) {
				state, err := v.events.Partition(ctx, p)
				return state.Offset.Incarnation, state.Offset.Seq, err
			}
		}
		b, err := bus.Open(ctx, cfg)
		if err != nil {
			return err
		}
		closers = append(closers, b.Close)
		v.bus = b
		return nil
	})
	return closeAll, c.Violations == 0
}

func (v *offline) verify(ctx context.Context, began time.Time) error {
	all, err := v.catalog.All(ctx)
	if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	}
	v.findings(began)
	for p := range v.bus.Partitions() {
		if err := v.partition(ctx, p); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	for _, d := range all {
		if err := v.tenant(ctx, d); err != nil {
			return fmt.Errorf("tenant %s: %w", d.Tenant, err)
		}
	}
	return nil
}

// findings tells what the log itself knows to be gone or was mended. What was known before is named and so no violation; what is found only
// now is one.
func (v *offline) findings(began time.Time) {
	c := v.report.check("nothing new is gone from the log", "losses, each of which is named")
	for _, l := range v.bus.Losses() {
		c.Looked++
		text := fmt.Sprintf("partition %d: messages %d to %d are gone: %s (found %s; copy: %s)", l.Partition, l.FromSeq, l.ToSeq, l.Reason, l.At.Format(time.RFC3339), cmp.Or(l.SetAside, "none"))
		if l.At.Before(began) {
			c.note("%s", text)
		} else {
			c.violation("%s", text)
		}
	}
	for _, r := range v.bus.Repairs() {
		c.note("partition %d: %s was mended, nothing was lost: %s (found %s)", r.Partition, r.File, r.Reason, r.At.Format(time.RFC3339))
	}
}

// tenant compares all rollups of a tenant with its raw events, in one pass over these.
func (v *offline) tenant(ctx context.Context, d catalog.Definitions) error {
	unique := newOnce(v.report, d.Tenant)
	var acc *accounts
	if v.Ledger != nil && d.Tenant == v.Tenant {
		acc = newAccounts(v.report, v.Ledger)
	}
	var tallies []*tally
	for _, p := range d.Metrics.All() {
		tallies = append(tallies, newTally(p))
	}
	var doc metric.Doc
	err := v.events.Scan(ctx, d.Tenant, store.Scan{}, func(ev *event.Stored) error {
		if ev.Identified {
			unique.add(d.Tenant, &ev.Event)
		}
		if acc != nil {
			acc.add(&ev.Event)
		}
		doc.Reset(&ev.Event)
		for _, t := range tallies {
			t.add(&doc, &ev.Event)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if acc != nil {
		held, err := v.held(ctx, d.Tenant)
		if err != nil {
			return err
		}
		v.report.Ledger = acc.finish(held)
	}
	return v.rollups(ctx, d, tallies)
}

func (v *offline) rollups(ctx context.Context, d catalog.Definitions, tallies []*tally) error {
	state, err := v.events.Partition(ctx, tenant.Partition(d.Tenant, v.bus.Partitions()))
	if err != nil {
		return err
	}
	filled := map[int64]bool{}
	for _, f := range state.Fills {
		if f.Tenant == d.Tenant {
			filled[f.Metric] = f.Complete
		}
	}
	c := v.report.check("rollups of "+string(d.Tenant)+" equal raw events", "steps of series")
	for _, t := range tallies {
		def := t.program.Definition()
		if !filled[def.ID] {
			c.note("%s is still being filled: not compared", def.Slug)
			continue
		}
		got := rollups{}
		for _, width := range series.Resolutions() {
			q := store.RollupQuery{Metric: def.ID, Step: width, GroupBy: allLabels(def), Scalars: true}
			err := v.events.Rollups(ctx, d.Tenant, q, func(r *series.Rollup) error {
				got.add(step{width, r.Start.Unix(), r.Labels.Key()}, &numbers{labels: r.Labels, count: r.Agg.Count, values: r.Agg.Values, sum: r.Agg.Sum, min: r.Agg.Min, max: r.Agg.Max})
				return nil
			})
			if err != nil {
				return fmt.Errorf("metric %s: %w", def.Slug, err)
			}
		}
		t.compare(c, got)
	}
	return nil
}

func allLabels(def *metric.Definition) []int {
	all := make([]int, len(def.Dimensions))
	for i := range all {
		all[i] = i
	}
	return all
}

// held is a tenant's quarantine.
func (v *offline) held(ctx context.Context, t tenant.ID) (quarantined, error) {
	if held, ok := v.holds[t]; ok {
		return held, nil
	}
	entries, err := v.events.Quarantined(ctx, t, store.QuarantineQuery{})
	if err != nil {
		return nil, err
	}
	held := quarantined{}
	for i := range entries {
		if ev := entries[i].Event; ev != nil {
			held.add(ev.Source, ev.ID, ev.Subject)
		}
	}
	v.holds[t] = held
	return held, nil
}
