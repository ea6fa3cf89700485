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
)

// kind is one of the two kinds of sealed files. The table of a kind lists those that are part of the store; others are not.
type kind struct{ table, suffix string }

func eventFiles() kind  { return kind{"segments", ".seg"} }
func rollupFiles() kind { return kind{"rollup_files", ".rol"} }

// schema is the SQL of a kind's table.
func (k kind) schema() string {
	return `CREATE TABLE ` + k.table + ` (
	number BIGINT NOT NULL, place BIGINT NOT NULL, "rows" BIGINT NOT NULL, bytes BIGINT NOT NULL, min_time BIGINT NOT NULL, max_time BIGINT NOT NULL)`
}

// fileEntry is a row of the table of a kind.
type fileEntry struct {
	number           int64 // of the file
	place            int64 // in the order of flushes
	rows             int64
	bytes            int64
	minTime, maxTime int64
}

// sealed is an open file.
type sealed interface {
	Use()
	Release() error
	Remove()
	Path() string
}

// files are those of a kind at one moment. Readers hold on to it; the last one lets go of the files.
type files[F sealed] struct {
	all     []F
	entries []fileEntry
	users   atomic.Int64
}

func newFiles[F sealed](all []F, entries []fileEntry) *files[F] {
	s := &files[F]{all: all, entries: entries}
	s.users.Store(1)
	return s
}

// with is s and one more. The caller's hold on the file passes to it, and s is let go of.
func (s *files[F]) with(f F, e fileEntry) *files[F] { return s.replace(len(s.all), len(s.all), f, e) }

// replace is s with a file in the place of those from (inclusive) to (exclusive).
func (s *files[F]) replace(from, to int, f F, e fileEntry) *files[F] {
	n := newFiles(slices.Concat(s.all[:from:from], []F{f}, s.all[to:]), slices.Concat(s.entries[:from:from], []fileEntry{e}, s.entries[to:]))
	for i, kept := range n.all {
		if i != from {
			kept.Use()
		}
	}
	s.release()
	return n
}

// hold is s, to be released by the caller. It is called with the memory's lock held.
func (s *files[F]) hold() *files[F] {
	s.users.Add(1)
	return s
}

func (s *files[F]) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	for _, f := range s.all {
		_ = f.Release() // a file that was only read
	}
}

func (s *Store) segmentsDir() string { return s.path + segmentsSuffix }

// segmentsSuffix is what the folder of the sealed files has behind the name of the DuckDB file.
const segmentsSuffix = ".segments"

func (s *Store) filePath(k kind, number int64) string {
	return filepath.Join(s.segmentsDir(), fmt.Sprintf("%012d%s", number, k.suffix))
}

// loadFiles opens the files that the tables name, and removes those that no transaction has taken up.
func (s *Store) loadFiles(ctx context.Context) error {
	if err := os.MkdirAll(s.segmentsDir(), 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of the events store's segments: %w", err)
	}
	if s.made {
		if err := s.orphans(); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	var err error
	if s.mem.segments, err = listed(ctx, s, eventFiles(), openSegment, known); err != nil {
		return err
	}
	if s.mem.rollups, err = listed(ctx, s, rollupFiles(), openRollups, known); err != nil {
		return err
	}
	return s.removeUnknown(known)
}

// listed opens the files of a kind, in their order.
func listed[F sealed](ctx context.Context, s *Store, k kind, open func(path string) (F, error), known map[string]bool) (*files[F], error) {
	list := newFiles[F](nil, nil)
	r, err := s.writer.query(ctx, `SELECT number, place, "rows", bytes, min_time, max_time FROM `+k.table+` ORDER BY place`)
	if err != nil {
		return list, err
	}
	defer r.close()
	for r.next() {
		for i := range r.rows {
			e := fileEntry{r.int64(0, i), r.int64(1, i), r.int64(2, i), r.int64(3, i), r.int64(4, i), r.int64(5, i)}
			f, err := open(s.filePath(k, e.number))
			if err != nil {
				return list, fileError(err)
			}
			list.all, list.entries = append(list.all, f), append(list.entries, e)
			s.numbers.Store(max(s.numbers.Load(), e.number))
			known[filepath.Base(f.Path())] = true
		}
	}
	return list, nil
}

func (s *Store) removeUnknown(known map[string]bool) error {
	all, err := os.ReadDir(s.segmentsDir())
	if err != nil {
		return fmt.Errorf("cannot read the folder of the events store's segments: %w", err)
	}
	for _, f := range all {
		whole := strings.TrimSuffix(f.Name(), ".new")
		ours := strings.HasSuffix(whole, eventFiles().suffix) || strings.HasSuffix(whole, rollupFiles().suffix)
		if !ours || known[f.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(s.segmentsDir(), f.Name())); err != nil {
			return fmt.Errorf("cannot remove a file that is not part of the events store: %w", err)
		}
	}
	return nil
}

// orphans moves files out of the way that stand beside a new DuckDB file: somebody has removed the one that they belong to, and may want them.
func (s *Store) orphans() error {
	all, err := os.ReadDir(s.segmentsDir())
	if err != nil || len(all) == 0 {
		return err
	}
	aside := s.segmentsDir() + ".orphaned-" + s.now().UTC().Format("20060102T150405.000")
	s.log.Warn("events store: there are segments without the file that lists them; they are moved aside, and their events are taken from the log again",
		"file.path", aside)
	return errors.Join(os.Rename(s.segmentsDir(), aside), os.Mkdir(s.segmentsDir(), 0o700))
}

// reopened opens a file that was just made. Nobody has it if that fails.
func reopened[F sealed](path string, open func(path string) (F, error)) (F, error) {
	f, err := open(path)
	if err != nil {
		return f, errors.Join(fileError(err), os.Remove(path))
	}
	return f, nil
}

func (c *conn) addFile(k kind, e fileEntry) error {
	err := c.exec(`INSERT INTO `+k.table+` (number, place, "rows", bytes, min_time, max_time) VALUES ($1, $2, $3, $4, $5, $6)`,
		e.number, e.place, e.rows, e.bytes, e.minTime, e.maxTime)
	return err
}

// replaceFiles puts a file in the place of those that it was made of, from (inclusive) to (exclusive).
// Old is the list that those were found in; but for them, only its end changes meanwhile: flushes add there, and one merge is made at a time.
func replaceFiles[F sealed](ctx context.Context, s *Store, k kind, list **files[F], old *files[F], from, to int, made F, e fileEntry) error {
	err := s.write(ctx, func(c *conn, _ int64) error {
		for _, e := range old.entries[from:to] {
			if err := c.exec(`DELETE FROM `+k.table+` WHERE number = $1`, e.number); err != nil {
				return err
			}
		}
		return c.addFile(k, e)
	})
	if err != nil {
		return errors.Join(err, discard(made, err))
	}
	for _, f := range old.all[from:to] {
		f.Remove()
	}
	s.mem.mu.Lock()
	*list = (*list).replace(from, to, made, e)
	s.mem.mu.Unlock()
	return nil
}

// damagedFile says whether an error is about a sealed file, and not about who reads it.
func damagedFile(err error) bool {
	return errors.Is(err, pieces.ErrDamaged) || errors.Is(err, pieces.ErrUnreadable)
}

// tiers say which files are merged: those of few rows, when run of them lie beside each other, or as many as nearly make one of the largest; but not to
// add a little to one that is much larger than the others, or it would be written again and again.
type tiers struct {
	below     []int64 // rows
	mostRows  int64   // in what is made
	mostBytes int64   // likewise
}

const mergeRun = 8

// pick finds files to make one of: from (inclusive) to (exclusive), empty when there are none.
func (t tiers) pick(entries []fileEntry) (from, to int) {
	for _, tier := range t.below {
		for from := range entries {
			var rows, bytes, largest int64
			to := from
			for to < len(entries) && to-from < 4*mergeRun && entries[to].rows < tier && rows+entries[to].rows <= t.mostRows && bytes+entries[to].bytes <= t.mostBytes {
				rows, bytes, largest = rows+entries[to].rows, bytes+entries[to].bytes, max(largest, entries[to].rows)
				to++
			}
			if (to-from >= mergeRun || rows >= t.mostRows*3/4) && rows >= 2*largest {
				return from, to
			}
		}
	}
	return 0, 0
}
