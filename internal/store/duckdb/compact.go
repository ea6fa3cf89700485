package duckdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Compact merges all partial rollups that there are, and says how many rows fewer there are now. Every answer stays what it
// was. The store does the same by itself, when it is worth while.
func (s *Store) Compact(ctx context.Context) (merged int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.compactAll(ctx, s.now(), func(block, pile) bool { return true })
}

// compactDue merges what is worth merging at now.
func (s *Store) compactDue(ctx context.Context, now time.Time) (int, error) {
	return s.compactAll(ctx, now, func(b block, p pile) bool { return p.due(b.end(), now) })
}

func (s *Store) compactAll(ctx context.Context, now time.Time, pick func(block, pile) bool) (merged int, err error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	if err := s.loadBacklog(ctx); err != nil {
		return 0, err
	}
	for _, sl := range plan(s.backlog.take(now, pick)) {
		fewer, err := s.compactSlice(ctx, sl)
		if err != nil {
			return merged, err
		}
		merged += fewer
	}
	return merged, nil
}

// loadBacklog finds, once, the partial rows that were there when the store was opened.
func (s *Store) loadBacklog(ctx context.Context) error {
	if s.backlog.loaded {
		return nil
	}
	c, err := s.reader()
	if err != nil {
		return err
	}
	defer c.close()
	for _, res := range resolutions() {
		r, err := c.query(ctx, `SELECT tenant, metric, start // $1 * $1 AS begin, count(*) FROM `+res.table+
			` WHERE gen > $2 AND gen <= $3 GROUP BY ALL`, int64(res.step)*blockSteps, int64(0), s.opened)
		if err != nil {
			return err
		}
		s.backlog.mu.Lock()
		for r.next() {
			for i := range r.rows {
				s.backlog.add(blockOf(tenant.ID(r.string(0, i)), r.int64(1, i), res.step, r.int64(2, i)), int(r.int64(3, i)), time.Time{})
			}
		}
		s.backlog.mu.Unlock()
		r.close()
	}
	s.backlog.loaded = true
	return nil
}

// slice is what one transaction of compaction merges: what some blocks of the same steps have from begin (inclusive) to end
// (exclusive).
type slice struct {
	step       time.Duration
	begin, end int64
	blocks     []task
	last       bool // nothing of the blocks is left behind this one
}

// task is a block with the rows that it is known to have.
type task struct {
	block
	pile
}

// plan divides blocks, which are ordered by place in the file, into slices of some sliceRows rows: small ones of many metrics go
// together, a big one goes step by step.
func plan(tasks []task) []slice {
	var all []slice
	room := 0
	for _, t := range tasks {
		rows := t.partial + t.whole
		if rows > sliceRows {
			for n := range int64(blockSteps) {
				begin := t.start + n*int64(t.step)
				all = append(all, slice{t.step, begin, begin + int64(t.step), []task{t}, n == blockSteps-1})
			}
			room = 0
			continue
		}
		if rows > room || all[len(all)-1].step != t.step || all[len(all)-1].begin != t.start {
			all = append(all, slice{t.step, t.start, t.end(), nil, true})
			room = sliceRows
		}
		room -= rows
		all[len(all)-1].blocks = append(all[len(all)-1].blocks, t)
	}
	return all
}

// compactSlice replaces the rows of a slice by merged ones and says how many fewer they are. Reading and merging hinders nobody; only the
// replacement holds off commits. What is committed in between has a later gen and stays.
func (s *Store) compactSlice(ctx context.Context, sl slice) (fewer int, err error) {
	res, err := resolutionOf(sl.step)
	if err != nil {
		return 0, err
	}
	w := sl.rows(s.settled.Load())
	m, err := s.mergedRows(ctx, res, w)
	if err != nil {
		return 0, err
	}
	if m.read > 1 || len(m.longer) > 0 {
		if err = s.replaceRows(ctx, res, w, m); err != nil {
			return 0, err
		}
	}
	if sl.last {
		s.backlog.merged(sl.blocks, m.rows)
	}
	return m.read - len(m.rows), nil
}

// replaceRows puts merged rows in the place of those that they were made of, and adds the rollups of longer steps.
func (s *Store) replaceRows(ctx context.Context, res resolution, w where, m *merging) error {
	err := s.write(ctx, func(c *conn, gen int64) error {
		if err := s.room(compacted); err != nil {
			return err
		}
		n, err := c.exec(`DELETE FROM `+res.table+` WHERE `+w.sql, w.args...)
		if err != nil {
			return err
		}
		if int(n) != m.read {
			return fmt.Errorf("compaction of %s merged %d rows, but would replace %d", res.table, m.read, n)
		}
		for _, longer := range resolutions() {
			if err := c.appendRollups(longer.table, gen, m.longer[longer.step]); err != nil {
				return err
			}
		}
		return c.appendRollups(res.table, 0, m.rows)
	})
	if err != nil {
		return err
	}
	for _, rows := range m.longer {
		s.backlog.committed(rows, s.now())
	}
	return nil
}

// rows is the predicate of a slice's rows, but for those of writes after gen.
func (sl slice) rows(gen int64) where {
	var tenants []string
	var metrics []int64
	for _, t := range sl.blocks {
		tenants, metrics = append(tenants, string(t.tenant)), append(metrics, t.metric)
	}
	w := where{sql: `(tenant, metric) IN (SELECT unnest($1::VARCHAR[]), unnest($2::BIGINT[]))`, args: []any{tenants, metrics}}
	w.and(`start >= %s AND start < %s AND gen <= %s`, sl.begin, sl.end, gen)
	return w
}

// merging is rows merged by tenant, metric, start and labels.
type merging struct {
	read int // rows
	rows []*series.Rollup
	// longer is what minutes add to longer steps, of rows that were not merged before.
	longer map[time.Duration][]*series.Rollup
	groups map[string]*series.Rollup
}

// mergedRows reads the rows that w selects and merges them.
func (s *Store) mergedRows(ctx context.Context, res resolution, w where) (*merging, error) {
	c, err := s.reader()
	if err != nil {
		return nil, err
	}
	good := false
	defer func() { s.giveBack(c, good) }()
	r, err := c.query(ctx, `SELECT tenant, metric, start, labels, gen, `+aggColumns+` FROM `+res.table+` WHERE `+w.sql, w.args...)
	if err != nil {
		return nil, err
	}
	defer r.close()
	m := &merging{longer: map[time.Duration][]*series.Rollup{}, groups: map[string]*series.Rollup{}}
	in := interner{}
	for ; r.next(); m.read += r.rows {
		for i := range r.rows {
			if err := m.add(r, i, res.step, in); err != nil {
				return nil, err
			}
		}
	}
	sortRollups(m.rows)
	for _, rows := range m.longer {
		sortRollups(rows)
	}
	good = true
	return m, nil
}

func (m *merging) add(r *result, i int, step time.Duration, in interner) error {
	a, err := r.agg(5, i, true)
	if err != nil {
		return err
	}
	u := &series.Rollup{Tenant: tenant.ID(in.string(r.view(0, i))), Metric: r.int64(1, i), Step: step, Start: time.Unix(0, r.int64(2, i)), Agg: a}
	if step == time.Minute && r.int64(4, i) > 0 {
		for _, longer := range resolutions() {
			if longer.step > step {
				wide := *u
				wide.Step, wide.Start, wide.Agg = longer.step, series.Align(u.Start, longer.step), series.Agg{}
				merged, fresh := m.group(r, i, &wide, in)
				merged.Agg.Merge(&a)
				if fresh {
					m.longer[longer.step] = append(m.longer[longer.step], merged)
				}
			}
		}
	}
	merged, fresh := m.group(r, i, u, in)
	if fresh {
		m.rows = append(m.rows, merged)
	} else {
		merged.Agg.Merge(&a)
	}
	return nil
}

// group is the rollup of u's step and start with the labels of a row: u, when there is none yet.
func (m *merging) group(r *result, row int, u *series.Rollup, in interner) (of *series.Rollup, fresh bool) {
	var stack [128]byte
	key := binary.AppendVarint(stack[:0], int64(u.Step))
	key = binary.AppendVarint(key, u.Start.UnixNano())
	key = r.rollupKey(key, row)
	if g, ok := m.groups[string(key)]; ok {
		return g, false
	}
	r.list(3, row, func(item []byte) { u.Labels = append(u.Labels, in.string(item)) })
	m.groups[string(key)] = u
	return u, true
}

// rollupKey tells apart series: tenant, metric and labels in the first four columns.
func (r *result) rollupKey(key []byte, row int) []byte {
	v := r.view(0, row)
	key = append(binary.AppendUvarint(key, uint64(len(v))), v...)
	key = binary.AppendVarint(key, r.int64(1, row))
	r.list(3, row, func(item []byte) { key = append(binary.AppendUvarint(key, uint64(len(item))), item...) })
	return key
}
