package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/store/segment"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// segmentEntry is a row of the table of segments. A file that has none is not part of the store.
type segmentEntry struct {
	number           int64 // of the file
	place            int64 // in the order of the log
	rows             int64
	bytes            int64
	minTime, maxTime int64
}

const segmentsTable = `CREATE TABLE segments (
	number BIGINT NOT NULL, place BIGINT NOT NULL, "rows" BIGINT NOT NULL, bytes BIGINT NOT NULL, min_time BIGINT NOT NULL, max_time BIGINT NOT NULL)`

// segments are those of one moment. Readers hold on to it; the last one lets go of the files.
type segments struct {
	all     []*segment.Segment
	entries []segmentEntry
	users   atomic.Int64
}

func newSegments(all []*segment.Segment, entries []segmentEntry) *segments {
	s := &segments{all: all, entries: entries}
	s.users.Store(1)
	return s
}

// with is s and one more. The caller's hold on the segment passes to it, and s is let go of.
func (s *segments) with(seg *segment.Segment, e segmentEntry) *segments {
	return s.replace(len(s.all), len(s.all), seg, e)
}

// replace is s with a segment in the place of those from (inclusive) to (exclusive).
func (s *segments) replace(from, to int, seg *segment.Segment, e segmentEntry) *segments {
	n := newSegments(slices.Concat(s.all[:from:from], []*segment.Segment{seg}, s.all[to:]), slices.Concat(s.entries[:from:from], []segmentEntry{e}, s.entries[to:]))
	for i, kept := range n.all {
		if i != from {
			kept.Use()
		}
	}
	s.release()
	return n
}

func (s *segments) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	for _, seg := range s.all {
		_ = seg.Release() // a file that was only read
	}
}

func (s *Store) segmentsDir() string { return s.path + segmentsSuffix }

// segmentsSuffix is what the folder of the segments has behind the name of the file.
const segmentsSuffix = ".segments"

func (s *Store) segmentPath(number int64) string {
	return filepath.Join(s.segmentsDir(), fmt.Sprintf("%012d.seg", number))
}

// loadSegments opens the segments that the table names, and removes files that no transaction has taken up.
func (s *Store) loadSegments(ctx context.Context) error {
	if err := os.MkdirAll(s.segmentsDir(), 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of the events store's segments: %w", err)
	}
	if s.made {
		if err := s.orphans(); err != nil {
			return err
		}
	}
	r, err := s.writer.query(ctx, `SELECT number, place, "rows", bytes, min_time, max_time FROM segments ORDER BY place`)
	if err != nil {
		return err
	}
	defer r.close()
	list := newSegments(nil, nil)
	s.mem.segments = list
	known := map[string]bool{}
	for r.next() {
		for i := range r.rows {
			e := segmentEntry{r.int64(0, i), r.int64(1, i), r.int64(2, i), r.int64(3, i), r.int64(4, i), r.int64(5, i)}
			seg, err := segment.Open(s.segmentPath(e.number))
			if err != nil {
				return fileError(err)
			}
			list.all, list.entries = append(list.all, seg), append(list.entries, e)
			s.numbers.Store(max(s.numbers.Load(), e.number))
			known[filepath.Base(seg.Path())] = true
		}
	}
	files, err := os.ReadDir(s.segmentsDir())
	if err != nil {
		return fmt.Errorf("cannot read the folder of the events store's segments: %w", err)
	}
	for _, f := range files {
		if name := f.Name(); !known[name] && (strings.HasSuffix(name, ".seg") || strings.HasSuffix(name, ".seg.new")) {
			if err := os.Remove(filepath.Join(s.segmentsDir(), name)); err != nil {
				return fmt.Errorf("cannot remove a segment that is not part of the events store: %w", err)
			}
		}
	}
	return nil
}

// orphans moves segments out of the way that stand beside a new file: somebody has removed the one that they belong to, and may want them.
func (s *Store) orphans() error {
	files, err := os.ReadDir(s.segmentsDir())
	if err != nil || len(files) == 0 {
		return err
	}
	aside := s.segmentsDir() + ".orphaned-" + s.now().UTC().Format("20060102T150405.000")
	s.log.Warn("events store: there are segments without the file that lists them; they are moved aside, and their events are taken from the log again",
		"file.path", aside)
	return errors.Join(os.Rename(s.segmentsDir(), aside), os.Mkdir(s.segmentsDir(), 0o700))
}

// seal makes a segment of a tail. It is not part of the store yet. One is made at a time: flushing holds the right to.
func (s *Store) seal(b *segment.Builder, t *segment.Tail) (*segment.Segment, segmentEntry, error) {
	e := segmentEntry{number: s.numbers.Add(1)}
	info, err := b.Build(t, s.segmentPath(e.number))
	if err != nil {
		return nil, e, fileError(err)
	}
	e.rows, e.bytes, e.minTime, e.maxTime = int64(info.Rows), info.Bytes, info.MinTime, info.MaxTime
	seg, err := segment.Open(s.segmentPath(e.number))
	if err != nil {
		return nil, e, errors.Join(fileError(err), os.Remove(s.segmentPath(e.number)))
	}
	return seg, e, nil
}

func (c *conn) addSegment(e segmentEntry) error {
	_, err := c.exec(`INSERT INTO segments (number, place, "rows", bytes, min_time, max_time) VALUES ($1, $2, $3, $4, $5, $6)`,
		e.number, e.place, e.rows, e.bytes, e.minTime, e.maxTime)
	return err
}

// events gives a reader the events of this moment: all segments, and what commits have brought since, of one tenant or, without one, of a partition.
func (s *Store) events(ctx context.Context, t tenant.ID, partition int, read func(*segment.Set) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mem.mu.Lock()
	held := s.mem.segments
	held.users.Add(1)
	set := segment.Set{Segments: held.all}
	for _, r := range s.mem.recents(s.flushed.Load()) {
		if t == "" {
			set.Views = append(set.Views, r.tail.Views(partition)...)
		} else if v, ok := r.tail.View(t); ok {
			set.Views = append(set.Views, v)
		}
	}
	s.mem.mu.Unlock()
	defer held.release()
	err := read(&set)
	if errors.Is(err, pieces.ErrDamaged) || errors.Is(err, pieces.ErrUnreadable) {
		return fileError(err)
	}
	return err
}

// Segments of so few rows are merged when mergeRun of them lie beside each other, or as many as make a large one; but not to add a little to one that
// is much larger than the others, or it would be written again and again. All of it is held in memory meanwhile, where
// it takes some ten times as many bytes as in the files.
const (
	mergeRun   = 8
	mergeMost  = flushRows // in what is made
	mergeBytes = 32 << 20  // likewise
)

func mergeTiers() [3]int64 { return [...]int64{4 << 10, 64 << 10, 96 << 10} }

// mergeable finds segments to make one of: from (inclusive) to (exclusive), empty when there are none.
func mergeable(entries []segmentEntry) (from, to int) {
	for _, tier := range mergeTiers() {
		for from := range entries {
			var rows, bytes, largest int64
			to := from
			for to < len(entries) && to-from < 4*mergeRun && entries[to].rows < tier && rows+entries[to].rows <= mergeMost && bytes+entries[to].bytes <= mergeBytes {
				rows, bytes, largest = rows+entries[to].rows, bytes+entries[to].bytes, max(largest, entries[to].rows)
				to++
			}
			if (to-from >= mergeRun || rows >= mergeMost*3/4) && rows >= 2*largest {
				return from, to
			}
		}
	}
	return 0, 0
}

// mergeSegments makes one of the first segments that are many and small, and says whether there were any.
func (s *Store) mergeSegments(ctx context.Context) (bool, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.mem.mu.Lock()
	list := s.mem.segments
	list.users.Add(1)
	s.mem.mu.Unlock()
	defer list.release()
	from, to := mergeable(list.entries)
	if from == to {
		return false, nil
	}
	var bytes int64
	for _, e := range list.entries[from:to] {
		bytes += e.bytes
	}
	if err := s.room(uint64(bytes)); err != nil {
		return false, err
	}
	t := &segment.Tail{}
	for _, seg := range list.all[from:to] {
		if err := s.reading.All(ctx, seg, t.Add); err != nil {
			return false, fileError(err)
		}
	}
	seg, entry, err := s.seal(s.merger, t)
	if err != nil {
		return false, err
	}
	entry.place = list.entries[from].place
	err = s.write(ctx, func(c *conn, _ int64) error {
		for _, e := range list.entries[from:to] {
			if _, err := c.exec(`DELETE FROM segments WHERE number = $1`, e.number); err != nil {
				return err
			}
		}
		return c.addSegment(entry)
	})
	if err != nil {
		return false, errors.Join(err, discard(seg, err))
	}
	for _, old := range list.all[from:to] {
		old.Remove()
	}
	s.mem.mu.Lock()
	s.mem.segments = s.mem.segments.replace(from, to, seg, entry) // flushes have added to its end only
	s.mem.mu.Unlock()
	return true, nil
}
