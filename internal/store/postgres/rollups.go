package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// freshTable has what commits have brought and what was not merged yet: it belongs to every step.
const freshTable = "rollup_fresh"

// resolution is one of the tables of merged rollups.
type resolution struct {
	step  time.Duration
	table string
}

func resolutions() []resolution {
	names := map[time.Duration]string{time.Minute: "rollup_1m", time.Hour: "rollup_1h", 24 * time.Hour: "rollup_1d"}
	var all []resolution
	for _, step := range series.Resolutions() {
		all = append(all, resolution{step, names[step]})
	}
	return all
}

func resolutionOf(step time.Duration) (resolution, error) {
	for _, r := range resolutions() {
		if r.step == step {
			return r, nil
		}
	}
	return resolution{}, fmt.Errorf("there are no rollups of %v: the steps are %v", step, series.Resolutions())
}

// Rollups implements store.Events. Without sketches the database merges; with them it gives rows in order, which are merged here.
func (s *Events) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	res, err := resolutionOf(q.Step)
	if err != nil {
		return err
	}
	if q.Bucket == 0 {
		q.Bucket = q.Step
	}
	if q.Bucket < q.Step || q.Bucket%q.Step != 0 {
		return fmt.Errorf("rollups: a bucket of %v is not a multiple of the step %v", q.Bucket, q.Step)
	}
	for _, i := range q.GroupBy {
		if i < 0 {
			return fmt.Errorf("rollups: %d is not the index of a label", i)
		}
	}
	ask := rowsOf[rollupRow]{op: fmt.Sprintf("rollups of metric %d", q.Metric), who: asTenant(t), size: func(r *rollupRow) int { return 200 + len(r.sketches) }}
	ask.ask, ask.scan = rollupStatement(t, res, &q), newRollupScanner(len(q.GroupBy), q.Scalars).scan
	g := grouping{out: series.Rollup{Tenant: t, Metric: q.Metric, Step: q.Bucket}, labels: len(q.GroupBy), give: each, places: map[string]int{}}
	if err := ask.each(ctx, s.DB, g.add); err != nil {
		return err
	}
	return g.flush()
}

// rollupStatement gives rows of bucket, labels that are grouped by, scalars and, unless only scalars are asked for, sketches; ordered by bucket.
func rollupStatement(t tenant.ID, res resolution, q *store.RollupQuery) statement {
	w := ofTenant(t)
	w.and(`metric = %s`, q.Metric)
	for _, i := range slices.Sorted(maps.Keys(q.Where)) {
		w.and(label(i)+` = ANY(%s::text[])`, packedAll(q.Where[i]))
	}
	from := `SELECT * FROM ` + res.table + ` WHERE ` + w.sql + w.between(q.From, q.To)
	// A fresh minute counts for a longer step when that step lies within the range.
	fresh := `SELECT * FROM ` + freshTable + ` WHERE ` + w.sql + w.between(alignUp(q.From, res.step), alignUp(q.To, res.step))
	width := w.param(int64(q.Bucket)) + `::bigint`
	columns := []string{`start - ((start % ` + width + `) + ` + width + `) % ` + width + ` AS bucket`}
	for n, i := range q.GroupBy {
		columns = append(columns, `COALESCE(`+label(i)+`, '') COLLATE "C" AS l`+strconv.Itoa(n))
	}
	rows := `FROM (` + from + ` UNION ALL ` + fresh + `) r`
	if !q.Scalars {
		return statement{`SELECT ` + strings.Join(columns, `, `) + `, count, "values", sum, min, max, last, last_at, sketches ` + rows + ` ORDER BY 1`, w.args}
	}
	groups := make([]string, len(columns))
	for i := range groups {
		groups[i] = strconv.Itoa(i + 1)
	}
	by := strings.Join(groups, `, `)
	return statement{`SELECT ` + strings.Join(columns, `, `) + `, sum(count)::bigint, sum("values")::bigint, sum(sum), min(min), max(max),
		(array_agg(last ORDER BY last_at DESC, last DESC) FILTER (WHERE last_at IS NOT NULL))[1], max(last_at) ` + rows + ` GROUP BY ` + by + ` ORDER BY ` + by, w.args}
}

// between is the condition that start lies within a range.
func (w *where) between(from, to time.Time) (sql string) {
	if !from.IsZero() {
		sql += ` AND start >= ` + w.param(from.UnixNano())
	}
	if !to.IsZero() {
		sql += ` AND start < ` + w.param(to.UnixNano())
	}
	return sql
}

// label is the SQL of a label by its index, null when there are fewer.
func label(i int) string { return `labels[` + strconv.Itoa(i+1) + `]` }

// alignUp is the first multiple of step at or after t; no time stays none.
func alignUp(t time.Time, step time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	if a := series.Align(t, step); a.Before(t) {
		return a.Add(step)
	}
	return t
}

// rollupRow is a row of rollupStatement.
type rollupRow struct {
	bucket   int64
	labels   series.Labels
	agg      series.Agg
	sketches []byte
}

// rollupScanner reads such rows. Labels repeat, and are kept once.
type rollupScanner struct {
	labels int
	plain  bool
	texts  *scanner
	views  []view
	into   []any
	agg    aggColumns
	bucket int64
	blob   view
}

// aggColumns are the columns of an aggregate, of which some may be null.
type aggColumns struct {
	count, values  int64
	sum            float64
	min, max, last *float64
	lastAt         *int64
}

func (c *aggColumns) into() []any {
	return []any{&c.count, &c.values, &c.sum, &c.min, &c.max, &c.last, &c.lastAt}
}

func (c *aggColumns) value() series.Agg {
	a := series.Agg{Count: uint64(c.count), Values: uint64(c.values), Sum: c.sum} //nolint:gosec // counts
	if c.values > 0 && c.min != nil && c.max != nil && c.last != nil && c.lastAt != nil {
		a.Min, a.Max, a.Last, a.LastAt = *c.min, *c.max, *c.last, *c.lastAt
	}
	return a
}

func newRollupScanner(labels int, plain bool) *rollupScanner {
	s := &rollupScanner{labels: labels, plain: plain, texts: newScanner("", true), views: make([]view, labels)}
	s.into = []any{&s.bucket}
	for i := range s.views {
		s.into = append(s.into, &s.views[i])
	}
	s.into = append(s.into, s.agg.into()...)
	if !plain {
		s.into = append(s.into, &s.blob)
	}
	return s
}

func (s *rollupScanner) scan(row pgx.Rows, r *rollupRow) error {
	if err := row.Scan(s.into...); err != nil {
		return err
	}
	r.bucket, r.agg = s.bucket, s.agg.value()
	if s.labels > 0 {
		r.labels = make(series.Labels, s.labels)
		for i := range r.labels {
			r.labels[i] = s.texts.keep(s.views[i])
		}
	}
	if s.plain {
		return nil
	}
	r.sketches = append(r.sketches, s.blob...)
	return r.agg.SetSketches(r.sketches)
}
