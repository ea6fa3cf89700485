package duckdb

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/rollup"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func openRollups(path string) (*rollup.File, error) { return rollup.Open(path) }

// Rollups implements store.Events. It reads sealed files and memory; DuckDB has no part in it.
func (s *Store) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	if err := rollup.Check(&q); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mem.mu.Lock()
	held := s.mem.rollups.hold()
	set := rollup.Set{Files: held.all}
	for _, r := range s.mem.recents(s.flushed.Load()) {
		if of := r.rollups[metricKey{t, q.Metric}]; of != nil {
			set.Young = of.collect(set.Young, &q)
		}
	}
	s.mem.mu.Unlock()
	defer held.release()
	err := s.rolled.Rollups(ctx, &set, t, &q, each)
	if damagedFile(err) {
		return fileError(err)
	}
	return err
}

// collect appends copies of the cells that a query asks for.
func (r *recentRollups) collect(young []series.Rollup, q *store.RollupQuery) []series.Rollup {
	for _, cell := range r.cells {
		if !rollup.Wanted(q, cell) {
			continue
		}
		y := series.Rollup{Labels: cell.Labels, Start: cell.Start, Step: time.Minute}
		if q.Scalars {
			y.Agg = cell.Agg.Scalars()
		} else {
			y.Agg.Merge(&cell.Agg)
		}
		young = append(young, y)
	}
	return young
}

// sealRollups makes a file of rollups, which are sorted. It is not part of the store yet.
func (s *Store) sealRollups(rows []*series.Rollup) (*rollup.File, fileEntry, error) {
	return s.sealedRollups(func(path string) (rollup.Info, error) { return s.roller.Build(rows, path) })
}

func (s *Store) sealedRollups(build func(path string) (rollup.Info, error)) (*rollup.File, fileEntry, error) {
	e := fileEntry{number: s.numbers.Add(1)}
	path := s.filePath(rollupFiles(), e.number)
	info, err := build(path)
	if err != nil {
		return nil, e, fileError(err)
	}
	e.place = e.number
	e.rows, e.bytes, e.minTime, e.maxTime = int64(info.Rows), info.Bytes, info.First, info.Last
	f, err := reopened(path, openRollups)
	return f, e, err
}

const (
	// A file of so many minutes has their hours and days too. In smaller ones a reader makes them out of the minutes.
	longRows = 64 << 10
	// What is merged streams, so only the time of one merge bounds what is made.
	mostRollups     = 4 << 20
	mostRollupBytes = 1 << 30
)

func rollupTiers() tiers {
	return tiers{below: []int64{4 << 10, longRows, 8 * longRows}, mostRows: mostRollups, mostBytes: mostRollupBytes}
}

// mergeRollups makes one file of the first that are many and small, and says whether there were any.
func (s *Store) mergeRollups(ctx context.Context) (bool, error) {
	merged, _, err := s.mergeRollupsOf(ctx, false, rollupTiers().pick)
	return merged, err
}

// Compact makes one file of all rollups that are on disk, with the hours and days, and says how many rows fewer there are now. Every answer stays what it
// was. The store does the same by itself, for files of similar size.
func (s *Store) Compact(ctx context.Context) (fewer int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	_, fewer, err = s.mergeRollupsOf(ctx, true, func(entries []fileEntry) (from, to int) { return 0, len(entries) })
	return fewer, err
}

func (s *Store) mergeRollupsOf(ctx context.Context, long bool, pick func([]fileEntry) (from, to int)) (merged bool, fewer int, err error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.mem.mu.Lock()
	list := s.mem.rollups.hold()
	s.mem.mu.Unlock()
	defer list.release()
	from, to := pick(list.entries)
	if from == to {
		return false, 0, nil
	}
	var rows, bytes int64
	for _, e := range list.entries[from:to] {
		rows, bytes = rows+e.rows, bytes+e.bytes
	}
	if err := s.room(uint64(2 * bytes)); err != nil {
		return false, 0, err
	}
	f, e, err := s.sealedRollups(func(path string) (rollup.Info, error) {
		return s.rollMerger.Merge(ctx, list.all[from:to], long || rows >= longRows, path)
	})
	if err != nil {
		return false, 0, err
	}
	e.place = list.entries[from].place
	err = replaceFiles(ctx, s, rollupFiles(), &s.mem.rollups, list, from, to, f, e)
	return err == nil, int(rows - e.rows), err
}
