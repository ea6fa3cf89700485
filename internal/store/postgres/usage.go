package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	countUsageSQL = `INSERT INTO events_usage AS u ("partition", tenant, hour, events, bytes)
		SELECT $1::int, * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
		ON CONFLICT (tenant, hour) DO UPDATE SET "partition" = excluded."partition", events = u.events + excluded.events, bytes = u.bytes + excluded.bytes`
	eventsUsageSQL = `SELECT tenant, hour, events, bytes FROM events_usage WHERE hour >= $1 AND hour < $2 AND ($3::text = '' OR tenant = $3) ORDER BY tenant, hour`

	addUsageSQL = `INSERT INTO usage_book AS u (tenant, hour, queries) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
		ON CONFLICT (tenant, hour) DO UPDATE SET queries = u.queries + excluded.queries, revision = u.revision + 1`
	keepUsageSQL = `INSERT INTO usage_book AS u (tenant, hour, events, bytes, series) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
		ON CONFLICT (tenant, hour) DO UPDATE SET events = greatest(u.events, excluded.events), bytes = greatest(u.bytes, excluded.bytes), series = greatest(u.series, excluded.series),
			revision = u.revision + 1 WHERE excluded.events > u.events OR excluded.bytes > u.bytes OR excluded.series > u.series`
	notifiedSQL = `INSERT INTO usage_book AS u (tenant, hour, notifications) VALUES ($1, $2, 1)
		ON CONFLICT (tenant, hour) DO UPDATE SET notifications = u.notifications + 1, revision = u.revision + 1`
	// Rows are locked in one order, as with touchSQL.
	billSQL = `WITH told AS (SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS d (tenant, hour, billed)),
		held AS (SELECT u.tenant, u.hour, d.billed FROM usage_book u JOIN told d ON u.tenant = d.tenant AND u.hour = d.hour
			ORDER BY u.tenant, u.hour FOR NO KEY UPDATE OF u)
		UPDATE usage_book u SET billed = greatest(u.billed, h.billed) FROM held h WHERE u.tenant = h.tenant AND u.hour = h.hour`

	usageColumns = `tenant, hour, events, bytes, series, queries, notifications, revision, billed`
	usageSQL     = `SELECT ` + usageColumns + ` FROM usage_book WHERE hour >= $1 AND hour < $2 AND ($3::text = '' OR tenant = $3) ORDER BY tenant, hour`
	unbilledSQL  = `SELECT ` + usageColumns + ` FROM usage_book WHERE hour < $1 AND revision > billed ORDER BY hour, tenant LIMIT $2`
)

// countUsage counts a commit's events for their tenants.
func countUsage(ctx context.Context, tx pgx.Tx, partition int, all []event.Stored) error {
	if len(all) == 0 {
		return nil
	}
	var counted store.Counted
	for i := range all {
		counted.Add(&all[i])
	}
	var tenants []string
	var hours, events, bytes []int64
	counted.Each(func(k store.UsageKey, n store.Counts) {
		tenants, hours = append(tenants, packed(string(k.Tenant))), append(hours, k.Hour)
		events, bytes = append(events, n.Events), append(bytes, n.Bytes)
	})
	_, err := tx.Exec(ctx, countUsageSQL, partition, tenants, hours, events, bytes)
	return err
}

// hours are those from (inclusive) to (exclusive).
func hours(from, to time.Time) (first, end int64) {
	return store.HourOf(from), store.HourOf(to.Add(time.Hour - 1))
}

// asTenantOrAll is for what is asked of one tenant, or of all.
func asTenantOrAll(t tenant.ID) as {
	if t == "" {
		return asInstallation()
	}
	return asTenant(t)
}

// Usage implements store.Events.
func (s *Events) Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	first, end := hours(from, to)
	return rowsOf[store.Usage]{op: "usage", who: asTenantOrAll(t), ask: statement{eventsUsageSQL, []any{first, end, packed(string(t))}}, scan: func(row pgx.Rows, u *store.Usage) error {
		var name string
		var hour int64
		err := row.Scan(&name, &hour, &u.Events, &u.Bytes)
		u.Tenant, u.Hour = tenant.ID(unpacked(name)), store.HourAt(hour)
		return err
	}}.all(ctx, s.DB)
}

// book is the catalog's book of usage.
type book struct{ *Catalog }

// Usage is the book of what tenants have used.
func (c *Catalog) Usage() store.UsageBook { return book{c} }

func (b book) change(ctx context.Context, op, sql string, rows []store.Usage, columns ...func(*store.Usage) int64) error {
	if err := b.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer b.gate.leave()
	if len(rows) == 0 {
		return nil
	}
	rows = slices.SortedFunc(slices.Values(rows), func(a, b store.Usage) int { // rows are locked in this order, so that two processes do not wait for each other
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Hour.Compare(b.Hour))
	})
	var t table
	column(&t, rows, func(u *store.Usage) string { return string(u.Tenant) })
	column(&t, rows, func(u *store.Usage) int64 { return store.HourOf(u.Hour) })
	for _, get := range columns {
		column(&t, rows, get)
	}
	return b.write(ctx, op, asInstallation(), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, t.columns...)
		return err
	})
}

// AddUsage implements store.UsageBook.
func (b book) AddUsage(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "add usage", addUsageSQL, rows, func(u *store.Usage) int64 { return u.Queries })
}

// KeepUsage implements store.UsageBook.
func (b book) KeepUsage(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "keep usage", keepUsageSQL, rows, func(u *store.Usage) int64 { return u.Events }, func(u *store.Usage) int64 { return u.Bytes },
		func(u *store.Usage) int64 { return u.Series })
}

// Bill implements store.UsageBook.
func (b book) Bill(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "bill usage", billSQL, rows, func(u *store.Usage) int64 { return u.Revision })
}

// Usage implements store.UsageBook.
func (b book) Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	first, end := hours(from, to)
	return b.rows(ctx, asTenantOrAll(t), usageSQL, first, end, string(t))
}

// Unbilled implements store.UsageBook.
func (b book) Unbilled(ctx context.Context, before time.Time, limit int) ([]store.Usage, error) {
	return b.rows(ctx, asInstallation(), unbilledSQL, store.HourOf(before), limit)
}

func (b book) rows(ctx context.Context, who as, sql string, args ...any) ([]store.Usage, error) {
	if err := b.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	defer b.gate.leave()
	return rowsOf[store.Usage]{op: "read usage", who: who, ask: statement{sql, args}, scan: func(row pgx.Rows, u *store.Usage) error {
		var name string
		var hour int64
		err := row.Scan(&name, &hour, &u.Events, &u.Bytes, &u.Series, &u.Queries, &u.Notifications, &u.Revision, &u.Billed)
		u.Tenant, u.Hour = tenant.ID(name), store.HourAt(hour)
		return err
	}}.all(ctx, b.DB)
}
