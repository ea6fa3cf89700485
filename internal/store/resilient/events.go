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

// Partition implements store.Events.
func (s *Store) Partition(ctx context.Context, partition int) (out store.PartitionState, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Partition(ctx, partition); return err })
	return out, err
}

// Commit implements store.Events.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (out store.Offset, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Commit(ctx, c); return err })
	return out, err
}

// Identities implements store.Events.
func (s *Store) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	return s.use(func(e store.Events) error { return e.Identities(ctx, partition, since, each) })
}

// Page implements store.Events.
func (s *Store) Page(ctx context.Context, t tenant.ID, p store.Page) (out []event.Stored, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Page(ctx, t, p); return err })
	return out, err
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, t tenant.ID, source, id string) (out event.Stored, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Event(ctx, t, source, id); return err })
	return out, err
}

// Scan implements store.Events.
func (s *Store) Scan(ctx context.Context, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	return s.use(func(e store.Events) error { return e.Scan(ctx, t, q, each) })
}

// Rollups implements store.Events.
func (s *Store) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	return s.use(func(e store.Events) error { return e.Rollups(ctx, t, q, each) })
}

// Incidents implements store.Events.
func (s *Store) Incidents(ctx context.Context, t tenant.ID, q store.IncidentQuery) (out []alert.Incident, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Incidents(ctx, t, q); return err })
	return out, err
}

// Transitions implements store.Events.
func (s *Store) Transitions(ctx context.Context, after uint64, limit int) (out []store.NumberedTransition, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Transitions(ctx, after, limit); return err })
	return out, err
}

// Quarantined implements store.Events.
func (s *Store) Quarantined(ctx context.Context, t tenant.ID, q store.QuarantineQuery) (out []store.Quarantined, err error) {
	err = s.use(func(e store.Events) error { out, err = e.Quarantined(ctx, t, q); return err })
	return out, err
}
