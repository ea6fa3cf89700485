package duckdb

import (
	"context"
	"fmt"
	"time"
)

const (
	// scrubRows are read at a time: four of DuckDB's row groups.
	scrubRows = 4 * 122_880
	// scrubRest is how long scrubbing rests for each unit of time that it reads.
	scrubRest = 4
)

// Scrub reads all that is stored, a part at a time and with rests between, because DuckDB looks at the checksum of a block only when it reads it:
// damage is to be found while the log still has what is needed to mend it, and not by whoever asks for an old event. ErrDamaged when there is some.
func (s *Store) Scrub(ctx context.Context) error {
	tables := []string{"events", "offsets", "fills", "rule_states", "quarantine", "transitions"}
	for _, r := range resolutions() {
		tables = append(tables, r.table)
	}
	for _, table := range tables {
		if err := s.scrubTable(ctx, table); err != nil {
			return fmt.Errorf("scrub %s: %w", table, err)
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
			err = rest(ctx, scrubRest*time.Since(began))
		}
	}
	return err
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
