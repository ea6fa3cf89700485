package duckdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pulsestream/pulsestream/internal/store"
)

// A disk that is full must not reach DuckDB. A checkpoint that is cut short makes it give up the whole instance, and with it every query. Of a COMMIT that
// is, it takes back what is in its log, but not in all cases what is in memory: minutes later a query has met "INTERNAL Error: Attempted to
// access index 1 within vector of size 0". So all that write ask for room first. When one meets a full disk all the same, the instance is
// not used any more (sick), and has to be opened again; what is on disk is sound.

const (
	// Of the disk, writes leave a part of reserveShare, but at most reserveMost, to what else is on it: the catalog and the log's own
	// files. The door closes long before.
	reserveShare = 80
	reserveMost  = 64 << 20
	// rowGroup is DuckDB's unit of storage, in rows. A checkpoint merges the last few of a table, which are not full, by writing them anew: seen
	// were three, 300 MB of events of 800 bytes that don't compress.
	rowGroup  = 122_880
	rewritten = 4 * rowGroup
	// checkpointMark is more than a checkpoint writes beside what it stores: a mark in the log, and lists of free blocks.
	checkpointMark = 1 << 20
	// What a rollup takes depends on its sketches, and what a state takes on how much its incident has to tell: these are plenty.
	rollupBytes = 2 << 10
	stateBytes  = 4 << 10
)

// diskUnder asks the operating system about the disk that a file is on.
func diskUnder(path string) (free, size uint64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err != nil {
		return 0, 0, fmt.Errorf("how full is the disk: %w", err)
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil //nolint:gosec // a block size is positive
}

// written is about how many bytes a commit adds to the log: what it holds, as it is.
func written(c *store.Commit) uint64 {
	n := len(c.Rollups) * rollupBytes
	for i := range c.Events {
		ev := &c.Events[i]
		n += 128 + len(ev.Data) + len(ev.Extensions) + len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject)
	}
	return 64<<10 + uint64(n+n/8) + rest(c)
}

// rest is about how many bytes all takes that is neither events nor rollups.
func rest(c *store.Commit) uint64 {
	n := (len(c.States) + len(c.Transitions) + len(c.Fills)) * stateBytes
	for i := range c.Quarantine {
		q := &c.Quarantine[i]
		n += 512 + len(q.Raw)
		if q.Event != nil {
			n += len(q.Event.Data) + len(q.Event.Extensions)
		}
	}
	return uint64(n + n/8)
}

// roomForCheckpoint says that a checkpoint had better wait for room, or nil. It needs what is in the log and what it rewrites, less what is free within
// its file.
func (s *Store) roomForCheckpoint(ctx context.Context) error {
	log := sizeOf(s.path + ".wal")
	if log == 0 {
		return nil
	}
	used, inside, rows, last := sizeOf(s.path), uint64(0), uint64(0), uint64(0)
	if c, err := s.reader(); err == nil {
		r, err := c.query(ctx, `SELECT (used_blocks * block_size)::UBIGINT, (free_blocks * block_size)::UBIGINT, sum(estimated_size)::UBIGINT,
			sum(least(estimated_size, $1))::UBIGINT FROM pragma_database_size(), duckdb_tables() GROUP BY ALL`, rewritten)
		if err == nil && r.next() {
			used, inside, rows, last = r.uint64(0, 0), r.uint64(1, 0), r.uint64(2, 0), r.uint64(3, 0)
		}
		if err == nil {
			r.close()
		}
		s.giveBack(c, err == nil)
	}
	need := log + rewriting(used, rows, last)
	if free, _, err := s.disk(); err == nil && fitsInside(need, inside, free) {
		return nil
	}
	return s.room(need - min(need, inside) + checkpointMark)
}

// fitsInside says whether a checkpoint that writes need bytes finds its place in what is free inside the file, with a margin, so that it takes
// nothing from the disk but the mark it leaves in the log, and may be made on a disk that is full for all else. Then the log is gone.
func fitsInside(need, inside, free uint64) bool {
	return inside >= need+need/4+checkpointMark && free >= checkpointMark
}

// rewriting bounds what a checkpoint writes anew of so many bytes in so many rows, of which so many are the last ones of their tables. Rows of a day are larger
// than those of a minute, for which twice as many are allowed.
func rewriting(used, rows, last uint64) uint64 {
	if rows <= 2*last {
		return used
	}
	return uint64(2 * float64(used) * float64(last) / float64(rows))
}

func (s *Store) room(need uint64) error {
	free, size, err := s.disk()
	if err != nil || size == 0 {
		return nil //nolint:nilerr // whoever doesn't know tries
	}
	if need += min(size/reserveShare, reserveMost); free < need {
		return fmt.Errorf("%w: %d MiB are free, %d MiB are needed", store.ErrFull, free>>20, need>>20)
	}
	return nil
}

func sizeOf(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return uint64(info.Size()) //nolint:gosec // not negative
}
