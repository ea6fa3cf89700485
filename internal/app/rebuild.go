package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// openEvents opens the store of events as one that outlives damage. Partitions is how many the log has.
func (a *App) openEvents(ctx context.Context, things store.Catalog, partitions int) (*resilient.Store, error) {
	path := a.cfg.EventsPath()
	var last *duckdb.Store // which is closed when another is opened, and may have something in memory that is not on disk
	return resilient.Open(ctx, resilient.Config{
		Log: a.opts.Log, Now: a.opts.Now,
		Open: func(ctx context.Context) (store.Events, error) {
			cfg := duckdb.Config{Path: path, Log: a.opts.Log, CheckpointLog: checkpointLog}
			if last != nil {
				cfg.Rest = last.Rest()
			}
			s, err := duckdb.Open(ctx, cfg)
			if err != nil {
				return nil, err // and no *duckdb.Store that is nil within an interface that is not
			}
			last = s
			return s, nil
		},
		SetAside: func(now time.Time) (string, error) {
			last = nil // the log gives everything again
			return duckdb.SetAside(path, now)
		},
		Marker: path + ".rebuilding",
		Reopened: func() {
			if cached := a.cache.Load(); cached != nil {
				cached.Reset()
			}
		},
		Seed: func(ctx context.Context, events store.Events) error {
			return seed(ctx, things, events, partitions)
		},
	})
}

// keep copies transitions into the catalog: the log could not give incidents back.
func keep(things store.Catalog) func(context.Context, []store.NumberedTransition) error {
	return func(ctx context.Context, page []store.NumberedTransition) error {
		for i := range page {
			t := &page[i]
			body, err := json.Marshal(t)
			if err != nil {
				return fmt.Errorf("encode transition %s: %w", t.ID, err)
			}
			_, err = things.Put(ctx, store.Put{Tenant: t.Tenant, Kind: store.KindTransition, Slug: t.ID, Body: body, IfRevision: -1, At: t.At})
			if err != nil && !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
		return nil
	}
}

// seed gives an empty store of events the incidents of the one before it, and the rules the states that go with them. The commit that has the
// incidents is the last one: where they are, nothing is left to do.
func seed(ctx context.Context, things store.Catalog, events store.Events, partitions int) error {
	if there, err := events.Transitions(ctx, 0, 1); err != nil || len(there) > 0 {
		return err
	}
	kept, err := things.List(ctx, "", store.KindTransition)
	if err != nil {
		return fmt.Errorf("read the incidents kept in the catalog: %w", err)
	}
	all := make([]store.NumberedTransition, 0, len(kept))
	for _, r := range kept {
		var t store.NumberedTransition
		if err := json.Unmarshal(r.Body, &t); err != nil {
			return fmt.Errorf("transition %s in the catalog: %w", r.Slug, err)
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(x, y store.NumberedTransition) int { return int(x.Number) - int(y.Number) }) //nolint:gosec // running numbers
	commits := map[int]*store.Commit{0: {}}
	for i := range all {
		commits[0].Transitions = append(commits[0].Transitions, all[i].Transition)
	}
	for _, state := range alert.OpenStates(commits[0].Transitions) {
		p := tenant.Partition(state.Tenant, partitions)
		if commits[p] == nil {
			commits[p] = &store.Commit{Partition: p}
		}
		commits[p].States = append(commits[p].States, state)
	}
	for p := partitions - 1; p >= 0; p-- {
		c := commits[p]
		if c == nil || len(c.Transitions)+len(c.States) == 0 {
			continue
		}
		// An attempt that was cut short may have come as far as this partition.
		if _, err := events.Commit(ctx, c); err != nil && !(p > 0 && errors.Is(err, store.ErrFenced)) {
			return fmt.Errorf("put the incidents back: %w", err)
		}
	}
	return nil
}
