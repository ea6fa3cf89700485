package duckdb

import (
	"context"
	"errors"
	"math"
	"time"
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Scan implements store.Events.
func (s *Store) Scan(ctx context.Context, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	columns := eventColumns
	if q.WithoutData {
		columns = headColumns
	}
	in := interner{}
	sent := 0
	page := func(c *conn, from, to uint64) (int, error) {
		w := ofTenant(t)
		w.and(`seq >= %s AND seq <= %s AND (seq > %s OR idx > %s)`, from, to, q.After.Seq, q.After.Index)
		if q.Upto != nil {
			w.and(`(seq < %s OR idx <= %s)`, q.Upto.Seq, q.Upto.Index)
		}
		w.matching(&q.EventFilter)
		sql := `SELECT ` + columns + ` FROM events WHERE ` + w.sql + ` ORDER BY seq, idx`
		if q.Limit > 0 {
			sql += ` LIMIT ` + w.param(q.Limit-sent)
		}
		r, err := c.query(ctx, sql, w.args...)
		if err != nil {
			return 0, err
		}
		defer r.close()
		n := 0
		for ; r.next(); n += r.rows {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			for i := range r.rows {
				ev := r.stored(i, !q.WithoutData, in)
				if err := each(&ev); err != nil {
					return 0, err
				}
			}
		}
		if sent += n; q.Limit > 0 && sent >= q.Limit {
			return n, errEnough
		}
		return n, nil
	}
	last := uint64(math.MaxUint64)
	if q.Upto != nil {
		last = q.Upto.Seq
	}
	return s.inLogOrder(ctx, q.After.Seq, last, page)
}

// Identities implements store.Events.
func (s *Store) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	in := interner{}
	return s.inLogOrder(ctx, 0, math.MaxUint64, func(c *conn, from, to uint64) (int, error) {
		w := where{sql: `"partition" = $1 AND identified`, args: []any{int32(partition)}}
		w.and(`seq >= %s AND seq <= %s`, from, to)
		if !since.IsZero() {
			w.and(`received >= %s`, since.UnixNano())
		}
		r, err := c.query(ctx, `SELECT tenant, source, id, received FROM events WHERE `+w.sql+` ORDER BY seq, idx`, w.args...)
		if err != nil {
			return 0, err
		}
		defer r.close()
		n := 0
		for ; r.next(); n += r.rows {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			for i := range r.rows {
				id := r.view(2, i)
				key := event.IdentityKey(tenant.ID(in.string(r.view(0, i))), in.string(r.view(1, i)), unsafe.String(unsafe.SliceData(id), len(id)))
				if err := each(store.Identity{Key: key, Received: time.Unix(0, r.int64(3, i)).UTC()}); err != nil {
					return 0, err
				}
			}
		}
		return n, nil
	})
}

// scanPace divides the log: DuckDB holds the whole result of a query in memory, so each is kept to some 64 k rows.
func scanPace() pace { return pace{width: 16, most: 1 << 40, rows: 1 << 16} }

// errEnough ends a scan that needs no more rows.
var errEnough = errors.New("enough")

// inLogOrder reads the stretches of the log from first to last (both inclusive) one by one. The log only grows at its end, so what
// is committed meanwhile comes behind all that was read.
func (s *Store) inLogOrder(ctx context.Context, first, last uint64, read func(c *conn, from, to uint64) (int, error)) error {
	return s.read(ctx, func(c *conn) error {
		r, err := c.query(ctx, `SELECT min(seq), max(seq) FROM events`) // DuckDB knows them without looking at the rows
		if err != nil {
			return err
		}
		defer r.close()
		if !r.next() || r.null(0, 0) {
			return nil
		}
		first, last = max(first, r.uint64(0, 0)), min(last, r.uint64(1, 0))
		err = scanPace().divide(first, last, func(from, to uint64) (int, error) { return read(c, from, to) })
		if err == errEnough { //nolint:errorlint // the very value, so that a callback's error never passes for it
			return nil
		}
		return err
	})
}
