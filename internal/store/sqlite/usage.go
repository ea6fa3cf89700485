package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	addUsageSQL = `INSERT INTO usage_book (tenant, hour, queries) VALUES ($1, $2, $3)
		ON CONFLICT (tenant, hour) DO UPDATE SET queries = queries + excluded.queries, revision = revision + 1`
	keepUsageSQL = `INSERT INTO usage_book (tenant, hour, events, bytes, series) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant, hour) DO UPDATE SET events = max(events, excluded.events), bytes = max(bytes, excluded.bytes), series = max(series, excluded.series),
			revision = revision + 1 WHERE excluded.events > events OR excluded.bytes > bytes OR excluded.series > series`
	notifiedSQL = `INSERT INTO usage_book (tenant, hour, notifications) VALUES ($1, $2, 1)
		ON CONFLICT (tenant, hour) DO UPDATE SET notifications = notifications + 1, revision = revision + 1`
	billSQL = `UPDATE usage_book SET billed = $3 WHERE tenant = $1 AND hour = $2 AND billed < $3`

	usageColumns   = `tenant, hour, events, bytes, series, queries, notifications, revision, billed`
	usageSQL       = `SELECT ` + usageColumns + ` FROM usage_book WHERE hour >= $1 AND hour < $2 ORDER BY tenant, hour`
	tenantUsageSQL = `SELECT ` + usageColumns + ` FROM usage_book WHERE hour >= $1 AND hour < $2 AND tenant = $3 ORDER BY hour`
	unbilledSQL    = `SELECT ` + usageColumns + ` FROM usage_book WHERE hour < $1 AND revision > billed ORDER BY hour, tenant LIMIT $2`
)

// book is the book of usage.
type book struct{ *Store }

// Usage is the book of what tenants have used.
func (s *Store) Usage() store.UsageBook { return book{s} }

// change makes a statement for each row, in one transaction.
func (b book) change(ctx context.Context, op, statement string, rows []store.Usage, values func(*store.Usage) []any) error {
	if len(rows) == 0 {
		return b.read(ctx, op, func(*sql.DB) error { return nil })
	}
	return b.write(ctx, op, func(ctx context.Context, tx *sql.Tx) error {
		for i := range rows {
			u := &rows[i]
			if _, err := tx.ExecContext(ctx, statement, append([]any{u.Tenant, store.HourOf(u.Hour)}, values(u)...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddUsage implements store.UsageBook.
func (b book) AddUsage(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "add usage", addUsageSQL, rows, func(u *store.Usage) []any { return []any{u.Queries} })
}

// KeepUsage implements store.UsageBook.
func (b book) KeepUsage(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "keep usage", keepUsageSQL, rows, func(u *store.Usage) []any { return []any{u.Events, u.Bytes, u.Series} })
}

// Bill implements store.UsageBook.
func (b book) Bill(ctx context.Context, rows []store.Usage) error {
	return b.change(ctx, "bill usage", billSQL, rows, func(u *store.Usage) []any { return []any{u.Revision} })
}

// Usage implements store.UsageBook.
func (b book) Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	first, end := store.HourOf(from), store.HourOf(to.Add(time.Hour-1))
	if t == "" {
		return b.rows(ctx, usageSQL, first, end)
	}
	return b.rows(ctx, tenantUsageSQL, first, end, t)
}

// Unbilled implements store.UsageBook.
func (b book) Unbilled(ctx context.Context, before time.Time, limit int) ([]store.Usage, error) {
	return b.rows(ctx, unbilledSQL, store.HourOf(before), limit)
}

func (b book) rows(ctx context.Context, query string, args ...any) (out []store.Usage, err error) {
	err = b.read(ctx, "read usage", func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u store.Usage
			var hour int64
			if err := rows.Scan(&u.Tenant, &hour, &u.Events, &u.Bytes, &u.Series, &u.Queries, &u.Notifications, &u.Revision, &u.Billed); err != nil {
				return err
			}
			u.Hour = store.HourAt(hour)
			out = append(out, u)
		}
		return rows.Err()
	})
	return out, err
}
