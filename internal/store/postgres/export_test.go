package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// BareTable makes the table for BareCopy.
func (d *DB) BareTable(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, `CREATE TABLE bare (LIKE events)`)
	return err
}

// BareCopy copies the rows of a commit's events, and nothing else, into a table that has no index and is read by nobody, as the login: what
// commits are measured against.
func (d *DB) BareCopy(ctx context.Context, c *store.Commit) error {
	rows := d.takeCopying()
	defer d.copyings.Put(rows)
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		rows.begin()
		for i := range c.Events {
			rows.event(&c.Events[i])
		}
		return rows.into(ctx, tx, "bare")
	})
}

// AsTenant runs a statement as the tenant's transactions do, and gives its first column.
func (d *DB) AsTenant(ctx context.Context, t tenant.ID, sql string) ([]string, error) {
	return d.texts(ctx, asTenant(t), sql)
}

// AsOwner is the same for the owner of a partition.
func (d *DB) AsOwner(ctx context.Context, partition int, sql string) ([]string, error) {
	return d.texts(ctx, asOwner(partition), sql)
}

func (d *DB) texts(ctx context.Context, who as, sql string) ([]string, error) {
	return rowsOf[string]{op: "test", who: who, ask: statement{sql, nil}, scan: func(row pgx.Rows, s *string) error { return row.Scan(s) }}.all(ctx, d)
}

// CountAsLogin counts rows without taking on a role.
func (d *DB) CountAsLogin(ctx context.Context, table string) (n int, err error) {
	return n, d.pool.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n)
}

// Session is who a connection is between transactions.
func (d *DB) Session(ctx context.Context) (role, name string, err error) {
	return role, name, d.pool.QueryRow(ctx, `SELECT current_user, COALESCE(current_setting('pulsestream.tenant', true), '')`).Scan(&role, &name)
}

// Days are the days that events have partitions for.
func (d *DB) Days(ctx context.Context) (map[time.Time]bool, error) {
	return partitions(ctx, d.pool)
}

// Missing and Over are decisions.
func Missing(have map[time.Time]bool, now time.Time, keep time.Duration) []time.Time {
	return missing(have, now, keep)
}

func Over(have map[time.Time]bool, now time.Time, keep time.Duration) []time.Time {
	return over(have, now, keep)
}

// CountIn counts the rows of a table that belongs to no tenant's view, by its name.
func (d *DB) CountIn(ctx context.Context, table string) (n int, err error) {
	all, err := rowsOf[int]{op: "test", who: asInstallation(), ask: statement{`SELECT count(*) FROM ` + table, nil}, scan: func(row pgx.Rows, n *int) error { return row.Scan(n) }}.all(ctx, d)
	if err != nil {
		return 0, err
	}
	return all[0], nil
}

// CompactDue does what Run does every few seconds.
func (s *Events) CompactDue(ctx context.Context) error { return s.compactDue(ctx) }

// Packed and Unpacked are how texts are stored.
func Packed(s string) string { return packed(s) }

func Unpacked(s string) string { return unpacked(s) }

// Analyze brings the planner's statistics up to date, as autovacuum does in time.
func (d *DB) Analyze(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, `VACUUM ANALYZE`)
	return err
}

// Sentinel is what a caller can do about an error.
func Sentinel(err error) error { return sentinel(err) }

// Committed is what an error of COMMIT says.
func Committed(err error) error { return committed(err) }
