package resilient

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Commit implements store.Events. It is not made again when the store breaks under it: nobody knows then whether it took effect.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (out store.Offset, err error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.Wait, store.ErrUnavailable)
	defer cancel()
	err = s.use(wait, func(e store.Events) error { out, err = e.Commit(ctx, c); return err })
	return out, err
}

// Partition implements store.Events.
func (s *Store) Partition(ctx context.Context, partition int) (out store.PartitionState, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Partition(ctx, partition); return err })
	return out, err
}

// Identities implements store.Events.
func (s *Store) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	given := false
	return s.read(ctx, &given, func(e store.Events) error {
		return e.Identities(ctx, partition, since, func(id store.Identity) error { given = true; return each(id) })
	})
}

// Page implements store.Events.
func (s *Store) Page(ctx context.Context, t tenant.ID, p store.Page) (out []event.Stored, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Page(ctx, t, p); return err })
	return out, err
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, t tenant.ID, source, id string) (out event.Stored, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Event(ctx, t, source, id); return err })
	return out, err
}

// Scan implements store.Events.
func (s *Store) Scan(ctx context.Context, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	given := false
	return s.read(ctx, &given, func(e store.Events) error {
		return e.Scan(ctx, t, q, func(ev *event.Stored) error { given = true; return each(ev) })
	})
}

// Rollups implements store.Events.
func (s *Store) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	given := false
	return s.read(ctx, &given, func(e store.Events) error {
		return e.Rollups(ctx, t, q, func(r *series.Rollup) error { given = true; return each(r) })
	})
}

// Incidents implements store.Events.
func (s *Store) Incidents(ctx context.Context, t tenant.ID, q store.IncidentQuery) (out []alert.Incident, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Incidents(ctx, t, q); return err })
	return out, err
}

// Transitions implements store.Events.
func (s *Store) Transitions(ctx context.Context, after uint64, limit int) (out []store.NumberedTransition, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Transitions(ctx, after, limit); return err })
	return out, err
}

// Quarantined implements store.Events.
func (s *Store) Quarantined(ctx context.Context, t tenant.ID, q store.QuarantineQuery) (out []store.Quarantined, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Quarantined(ctx, t, q); return err })
	return out, err
}

// Usage implements store.Events.
func (s *Store) Usage(ctx context.Context, t tenant.ID, from, to time.Time) (out []store.Usage, err error) {
	err = s.read(ctx, nil, func(e store.Events) error { out, err = e.Usage(ctx, t, from, to); return err })
	return out, err
}

// ScanColumns implements store.Columns, as far as the store below does.
func (s *Store) ScanColumns(ctx context.Context, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error {
	given := false
	return s.read(ctx, &given, func(e store.Events) error {
		columns, ok := e.(store.Columns)
		if !ok {
			return store.ErrNoColumns
		}
		return columns.ScanColumns(ctx, t, q, func(b *store.ColumnBlock) error { given = true; return each(b) })
	})
}

// Rows implements store.Rows, as far as the store below does.
func (s *Store) Rows(ctx context.Context, t tenant.ID, f store.EventFilter, each store.EachRows) error {
	given := false
	return s.read(ctx, &given, func(e store.Events) error {
		rows, ok := e.(store.Rows)
		if !ok {
			return store.ErrOneByOne
		}
		return rows.Rows(ctx, t, f, func(events []event.Stored, done float64, release func()) error {
			given = true
			return each(events, done, release)
		})
	})
}
