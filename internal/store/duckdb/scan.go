package duckdb

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

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
	matches := ofTenant(t)
	matches.and(`(seq > %s OR idx > %s)`, q.After.Seq, q.After.Index)
	sc := scan{columns: columns, matches: matches, first: q.After.Seq, last: math.MaxUint64, limit: q.Limit}
	if q.Upto != nil {
		sc.last = q.Upto.Seq
		sc.matches.and(`(seq < %s OR idx <= %s)`, q.Upto.Seq, q.Upto.Index)
	}
	sc.matches.matching(&q.EventFilter)
	in := interner{}
	return s.inLogOrder(ctx, sc, func(r *result, row int) error {
		ev := r.stored(row, !q.WithoutData, in)
		return each(&ev)
	})
}

// Identities implements store.Events.
func (s *Store) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	matches := where{sql: `"partition" = $1 AND identified`, args: []any{part(partition)}}
	if !since.IsZero() {
		matches.and(`received >= %s`, since.UnixNano())
	}
	in := interner{}
	sc := scan{columns: `tenant, source, id, received`, matches: matches, last: math.MaxUint64}
	return s.inLogOrder(ctx, sc, func(r *result, row int) error {
		id := r.view(2, row)
		key := event.IdentityKey(tenant.ID(in.string(r.view(0, row))), in.string(r.view(1, row)), asString(id))
		return each(store.Identity{Key: key, Received: time.Unix(0, r.int64(3, row)).UTC()})
	})
}

// scan is what inLogOrder reads.
type scan struct {
	columns     string
	matches     where
	first, last uint64 // bounds of seq, inclusive
	limit       int    // 0: none
}

// scanPace divides the log into queries of some 64 k rows.
func scanPace() pace { return pace{width: 16, most: 1 << 40, rows: 1 << 16} }

// errEnough ends a scan that needs no more rows.
var errEnough = errors.New("enough")

// inLogOrder calls each with every row of a scan. The log only grows at its end, so what is committed meanwhile comes behind
// all that was read.
func (s *Store) inLogOrder(ctx context.Context, sc scan, each func(r *result, row int) error) error {
	return s.read(ctx, func(c *conn) error {
		r, err := c.query(ctx, `SELECT min(seq), max(seq) FROM events`) // DuckDB knows them without looking at the rows
		if err != nil {
			return err
		}
		defer r.close()
		if !r.next() || r.null(0, 0) {
			return nil
		}
		first, last := max(sc.first, r.uint64(0, 0)), min(sc.last, r.uint64(1, 0))
		count := func(from, to uint64) (int, error) {
			w := sc.between(from, to)
			n, err := c.number(ctx, `SELECT count(*) FROM events WHERE `+w.sql, w.args...)
			return int(n), err
		}
		if sc.limit > 0 && sc.limit <= scanPace().rows {
			count = nil // the limit bounds each result as well
		}
		left := sc.limit
		err = scanPace().divide(first, last, count, func(from, to uint64) (int, error) {
			n, err := c.scan(ctx, sc, from, to, left, each)
			if left -= n; err == nil && sc.limit > 0 && left <= 0 {
				err = errEnough
			}
			return n, err
		})
		if err == errEnough { //nolint:errorlint // the very value, so that a callback's error never passes for it
			return nil
		}
		return err
	})
}

// between is the predicate of a scan's rows in a stretch of the log.
func (sc *scan) between(from, to uint64) where {
	w := where{sql: sc.matches.sql, args: slices.Clone(sc.matches.args)}
	w.and(`seq >= %s AND seq <= %s`, from, to)
	return w
}

// scan reads one stretch and says how many rows it had, which are at most limit if that is not 0.
func (c *conn) scan(ctx context.Context, sc scan, from, to uint64, limit int, each func(r *result, row int) error) (int, error) {
	w := sc.between(from, to)
	sql := `SELECT ` + sc.columns + ` FROM events WHERE ` + w.sql + ` ORDER BY seq, idx`
	if limit > 0 {
		sql += ` LIMIT ` + w.param(limit)
	}
	r, err := c.query(ctx, sql, w.args...)
	if err != nil {
		return 0, err
	}
	defer r.close()
	n := 0
	for ; r.next(); n += r.rows {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		for i := range r.rows {
			if err := each(r, i); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
