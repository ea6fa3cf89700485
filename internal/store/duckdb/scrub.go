package duckdb

import (
	"context"
	"fmt"
	"time"
)

const (
	// scrubRows are read at a time: four of DuckDB's row groups.
	scrubRows = 4 * 122_880
	// scrubBytes are read at a time of sealed files.
	scrubBytes = 8 << 20
	// scrubRest is how long scrubbing rests for each unit of time that it reads.
	scrubRest = 4
)

// Scrub reads all that is stored, a part at a time and with rests between, because a checksum is looked at only when what it stands for is read:
// damage is to be found while the log still has what is needed to mend it, and not by whoever asks for an old event. ErrDamaged when there is some.
func (s *Store) Scrub(ctx context.Context) error {
	for _, table := range []string{"schema_version", eventFiles().table, rollupFiles().table, "flushed", "offsets", "fills", "rule_states", "quarantine", "transitions"} {
		if err := s.scrubTable(ctx, table); err != nil {
			return fmt.Errorf("scrub %s: %w", table, err)
		}
	}
	if err := s.scrubFiles(ctx); err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	return nil
}

// scrubFiles holds on to those of this moment: what is merged meanwhile goes when they are done with.
func (s *Store) scrubFiles(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mem.mu.Lock()
	segments, rollups := s.mem.segments.hold(), s.mem.rollups.hold()
	s.mem.mu.Unlock()
	defer segments.release()
	defer rollups.release()
	read, began := 0, time.Now()
	each := func(bytes int) error {
		if read += bytes; read < scrubBytes {
			return ctx.Err()
		}
		err := pause(ctx, scrubRest*time.Since(began))
		read, began = 0, time.Now()
		return err
	}
	for _, seg := range segments.all {
		if err := seg.Verify(each); err != nil {
			return fileError(err)
		}
	}
	for _, f := range rollups.all {
		if err := f.Verify(each); err != nil {
			return fileError(err)
		}
	}
	return nil
}

func (s *Store) scrubTable(ctx context.Context, table string) error {
	last := int64(0)
	err := s.read(ctx, func(c *conn) (err error) {
		last, err = c.number(ctx, `SELECT max(rowid) FROM `+table)
		return err
	})
	for from := int64(0); err == nil && from <= last; from += scrubRows {
		began := time.Now()
		err = s.read(ctx, func(c *conn) error {
			_, err := c.number(ctx, `SELECT max(hash(t) & 1)::BIGINT FROM `+table+` t WHERE rowid >= $1 AND rowid < $2`, from, from+scrubRows)
			return err
		})
		if err == nil {
			err = pause(ctx, scrubRest*time.Since(began))
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
