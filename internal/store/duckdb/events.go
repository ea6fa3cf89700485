package duckdb

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/segment"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Page implements store.Events.
func (s *Store) Page(ctx context.Context, t tenant.ID, p store.Page) (page []event.Stored, err error) {
	err = s.events(ctx, t, 0, func(set *segment.Set) error {
		page, err = s.reading.Page(ctx, set, t, p)
		return err
	})
	return page, err
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, t tenant.ID, source, id string) (ev event.Stored, err error) {
	found := false
	err = s.events(ctx, t, 0, func(set *segment.Set) error {
		ev, found, err = s.reading.Find(ctx, set, t, source, id)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("event %q of source %q: %w", id, source, store.ErrNotFound)
	}
	return ev, err
}

// Scan implements store.Events.
func (s *Store) Scan(ctx context.Context, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	return s.events(ctx, t, 0, func(set *segment.Set) error { return s.reading.Scan(ctx, set, t, q, each) })
}

// Identities implements store.Events.
func (s *Store) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	return s.events(ctx, "", partition, func(set *segment.Set) error { return s.reading.Identities(ctx, set, partition, since, each) })
}

// ScanColumns implements store.Columns.
func (s *Store) ScanColumns(ctx context.Context, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error {
	return s.events(ctx, t, 0, func(set *segment.Set) error { return s.reading.ScanColumns(ctx, set, t, q, each) })
}

// Rows implements store.Rows.
func (s *Store) Rows(ctx context.Context, t tenant.ID, f store.EventFilter, each store.EachRows) error {
	return s.events(ctx, t, 0, func(set *segment.Set) error { return s.reading.Rows(ctx, set, t, f, each) })
}
