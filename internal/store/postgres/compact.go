package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	// compactRows bounds what one transaction of compaction merges, and so what it holds in memory.
	compactRows = 50_000
	// settles is how long after a minute its rows are left alone: until then more come, and what is merged once would be merged again.
	settles = 10 * time.Second
)

// Compact merges all partial rollups that there are, and says how many rows fewer there are now. Every answer stays what it was.
func (s *Events) Compact(ctx context.Context) (merged int, err error) {
	if err := s.gate.enter(ctx); err != nil {
		return 0, err
	}
	defer s.gate.leave()
	return s.compact(ctx, true, settledSQL, time.Unix(0, 1<<63-1))
}

// Which fresh rows are merged: those of minutes before $1, which become minutes, hours and days; or piles of one minute that is not over, which become
// one fresh row for each series.
const (
	settledSQL = `SELECT ctid FROM ` + freshTable + ` WHERE start < $1 LIMIT $2`
	pilesSQL   = `SELECT ctid FROM ` + freshTable + ` WHERE start >= $1 AND (tenant, metric, start) IN (
			SELECT tenant, metric, start FROM ` + freshTable + ` WHERE start >= $1 GROUP BY tenant, metric, start HAVING count(*) > 16 * count(DISTINCT series)
		) LIMIT $2`
)

// compact merges fresh rows, a bounded number in each transaction. Readers see them in one place or in the other. Unless it is patient it leaves the work to
// whoever is at it.
func (s *Events) compact(ctx context.Context, patient bool, which string, minute time.Time) (merged int, err error) {
	for {
		var read, written int
		err := s.write(ctx, "compaction of rollups", asUpkeep(), func(tx pgx.Tx) error {
			mine, err := lock(ctx, tx, patient)
			if err != nil || !mine {
				return err
			}
			read, written, err = s.compactSome(ctx, tx, which, minute)
			return err
		})
		if merged += read - written; err != nil || read < compactRows {
			return merged, err
		}
	}
}

// lock takes the upkeep's lock until the transaction ends. There is one who merges at a time: what is stored is read, merged and put back.
func lock(ctx context.Context, tx pgx.Tx, patient bool) (mine bool, err error) {
	if patient {
		_, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(upkeepLock))
		return err == nil, err
	}
	return mine, tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(upkeepLock)).Scan(&mine)
}

func (s *Events) compactSome(ctx context.Context, tx pgx.Tx, which string, minute time.Time) (read, written int, err error) {
	rows, err := tx.Query(ctx, `DELETE FROM `+freshTable+` WHERE ctid = ANY(ARRAY(`+which+`)) RETURNING `+mergeColumns, minute.UnixNano(), compactRows)
	if err != nil {
		return 0, 0, err
	}
	in := newScanner("", true)
	fresh, err := collect(rows, func(row pgx.Rows, r *mergedRow) error { return scanMerged(row, in, r) })
	if err != nil || len(fresh) == 0 {
		return 0, 0, err
	}
	c := s.takeCopying()
	defer s.copyings.Put(c)
	m := merging{rows: map[string]*mergedRow{}}
	into := resolutions()
	if which == pilesSQL {
		into = []resolution{{time.Minute, freshTable}}
	}
	for _, res := range into {
		m.begin()
		for i := range fresh {
			m.add(&fresh[i], res.step)
		}
		if err := m.store(ctx, tx, c, res); err != nil {
			return 0, 0, err
		}
		if res.step == time.Minute {
			written = len(m.order)
		}
	}
	return len(fresh), written, nil
}

const (
	scalarColumns = `count, "values", sum, min, max, last, last_at`
	mergeColumns  = `tenant, metric, start, "partition", series, labels, ` + scalarColumns + `, sketches`
)

// mergedRow is a rollup with the log partition that it is from.
type mergedRow struct {
	series.Rollup
	partition int
	key       digest
}

func scanMerged(row pgx.Rows, in *scanner, r *mergedRow) error {
	var name, key, sketches view
	var start int64
	var labels []string
	var a aggColumns
	if err := row.Scan(append(append([]any{&name, &r.Metric, &start, &r.partition, &key, &labels}, a.into()...), &sketches)...); err != nil {
		return err
	}
	r.Tenant, r.Start, r.Agg = tenant.ID(in.keep(name)), time.Unix(0, start).UTC(), a.value()
	copy(r.key[:], key)
	for i := range labels {
		labels[i] = unpacked(labels[i])
	}
	r.Labels = labels
	return r.Agg.SetSketches(append([]byte(nil), sketches...))
}

// merging merges rows by tenant, metric, step and series.
type merging struct {
	rows  map[string]*mergedRow
	order []*mergedRow
	key   []byte
}

func (m *merging) begin() {
	clear(m.rows)
	m.order = m.order[:0]
}

func (m *merging) place(r *mergedRow, start time.Time) {
	m.key = append(binary.AppendUvarint(m.key[:0], uint64(len(r.Tenant))), r.Tenant...)
	m.key = binary.BigEndian.AppendUint64(m.key, uint64(r.Metric)) //nolint:gosec // its bits
	m.key = binary.BigEndian.AppendUint64(m.key, uint64(start.UnixNano()))
	m.key = append(m.key, r.key[:]...)
}

// add merges a row into that of the step that it lies in.
func (m *merging) add(r *mergedRow, step time.Duration) {
	start := series.Align(r.Start, step)
	m.place(r, start)
	if at, ok := m.rows[string(m.key)]; ok {
		at.Agg.Merge(&r.Agg)
		return
	}
	merged := *r
	merged.Step, merged.Start, merged.Agg = step, start, *r.Agg.Clone()
	m.rows[string(m.key)] = &merged
	m.order = append(m.order, &merged)
}

// store puts the rows into their table, merged with what it has of them.
func (m *merging) store(ctx context.Context, tx pgx.Tx, c *copying, res resolution) error {
	replace := ``
	if res.table != freshTable {
		if err := m.addStored(ctx, tx, res); err != nil {
			return err
		}
		replace = ` ON CONFLICT (tenant, metric, start, series) DO UPDATE SET count = excluded.count, "values" = excluded."values", sum = excluded.sum,
			min = excluded.min, max = excluded.max, last = excluded.last, last_at = excluded.last_at, sketches = excluded.sketches`
	}
	c.begin()
	for _, r := range m.order {
		c.rollup(r.partition, &r.Rollup)
	}
	if err := c.into(ctx, tx, "stage_rollups"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO `+res.table+` SELECT * FROM stage_rollups`+replace)
	if err == nil {
		_, err = tx.Exec(ctx, `TRUNCATE stage_rollups`)
	}
	return err
}

// addStored merges what is stored already into the rows.
func (m *merging) addStored(ctx context.Context, tx pgx.Tx, res resolution) error {
	var t table
	column(&t, m.order, func(r **mergedRow) string { return packed(string((*r).Tenant)) })
	column(&t, m.order, func(r **mergedRow) int64 { return (*r).Metric })
	column(&t, m.order, func(r **mergedRow) int64 { return (*r).Start.UnixNano() })
	column(&t, m.order, func(r **mergedRow) []byte { return (*r).key[:] })
	rows, err := tx.Query(ctx, `SELECT `+mergeColumns+` FROM `+res.table+` WHERE (tenant, metric, start, series) IN (
			SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]))`, t.columns...)
	if err != nil {
		return err
	}
	in := newScanner("", true)
	_, err = collect(rows, func(row pgx.Rows, _ *struct{}) error {
		var r mergedRow
		if err := scanMerged(row, in, &r); err != nil {
			return err
		}
		m.place(&r, r.Start)
		if at, ok := m.rows[string(m.key)]; ok {
			at.Agg.Merge(&r.Agg)
		}
		return nil
	})
	return err
}
