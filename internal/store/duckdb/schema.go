package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pulsestream/pulsestream/internal/store"
)

// schemaVersion is that of the tables below and of the sealed files that they list; a file says which one it has.
const schemaVersion = 4

// Times are Unix nanoseconds: DuckDB's TIMESTAMP has microseconds only, and comparing its TIMESTAMP_NS with a parameter may
// round. There are no indexes and no keys: they would have to be held in memory, and slow down every append.
func tables() []string {
	return []string{
		`CREATE TABLE schema_version (version INTEGER NOT NULL)`,
		fmt.Sprintf(`INSERT INTO schema_version VALUES (%d)`, schemaVersion),
		eventFiles().schema(), rollupFiles().schema(),
		flushedTable, flushedRow, usageTable,
		`CREATE TABLE offsets (
			"partition" INTEGER NOT NULL, incarnation VARCHAR NOT NULL, seq UBIGINT NOT NULL, revision UBIGINT NOT NULL)`,
		`CREATE TABLE fills (
			"partition" INTEGER NOT NULL, tenant VARCHAR NOT NULL, metric BIGINT NOT NULL, upto_seq UBIGINT NOT NULL,
			upto_idx UINTEGER NOT NULL, done_seq UBIGINT NOT NULL, done_idx UINTEGER NOT NULL, complete BOOLEAN NOT NULL,
			updated_at BIGINT, gen BIGINT NOT NULL)`,
		// "group" holds the lengths of the labels as raw bytes, which are not always UTF-8.
		`CREATE TABLE rule_states (
			"partition" INTEGER NOT NULL, tenant VARCHAR NOT NULL, rule_id BIGINT NOT NULL, "group" BLOB NOT NULL,
			labels VARCHAR NOT NULL, phase VARCHAR NOT NULL, since BIGINT, incident VARCHAR NOT NULL, value DOUBLE NOT NULL,
			opened VARCHAR, gen BIGINT NOT NULL)`,
		quarantineTable,
		// body is the transition's JSON, but for the numbers: JSON has no infinity.
		`CREATE TABLE transitions (
			number BIGINT NOT NULL, tenant VARCHAR NOT NULL, id VARCHAR NOT NULL, incident VARCHAR NOT NULL, rule VARCHAR NOT NULL,
			kind VARCHAR NOT NULL, started_at BIGINT NOT NULL, value DOUBLE NOT NULL, threshold DOUBLE NOT NULL,
			body VARCHAR NOT NULL)`,
	}
}

// flushed has one row: the number of the last flush.
const (
	flushedTable = `CREATE TABLE flushed (number BIGINT NOT NULL)`
	flushedRow   = `INSERT INTO flushed VALUES (0)`
)

// errNewer is for a file that a later release has made: it is not damaged, and must not be replaced.
var errNewer = errors.New("the file was made by a newer release of PulseStream: use that one, or restore a backup from before the upgrade")

// load makes the tables of a new file, or reads from an old one what the store keeps in memory.
func (s *Store) load(ctx context.Context) error {
	n, err := s.writer.number(ctx, `SELECT count(*) FROM duckdb_tables() WHERE table_name = $1`, "schema_version")
	if err != nil {
		return err
	}
	if n == 0 {
		err := s.write(ctx, func(c *conn, _ int64) error {
			for _, sql := range tables() {
				if err := c.exec(sql); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.made = true
		return s.remember(ctx)
	}
	version, err := s.writer.number(ctx, `SELECT max(version)::BIGINT FROM schema_version`)
	if err != nil {
		return err
	}
	switch {
	case version > schemaVersion:
		return errNewer
	case version < schemaVersion:
		if err := os.MkdirAll(s.segmentsDir(), 0o700); err != nil {
			return fmt.Errorf("cannot make the folder of the events store's segments: %w", err)
		}
		if err := s.upgrade(ctx, version); err != nil {
			return fmt.Errorf("cannot bring the events store up to date: %w", err)
		}
	}
	for _, table := range []string{"fills", "rule_states", "usage"} {
		gen, err := s.writer.number(ctx, `SELECT max(gen) FROM `+table)
		if err != nil {
			return err
		}
		s.settled.Store(max(s.settled.Load(), gen))
	}
	return s.remember(ctx)
}

// remember takes up what is on disk where the last flush left it.
func (s *Store) remember(ctx context.Context) error {
	flushed, err := s.writer.number(ctx, `SELECT number FROM flushed`)
	if err != nil {
		return err
	}
	s.flushed.Store(flushed)
	s.mem.active = newRecent(flushed+1, s.mem.most, &s.mem.slabs)
	if s.mem.offsets, err = s.writer.offsets(ctx); err != nil {
		return err
	}
	if s.rest != nil {
		s.mem.inherit(s.rest, flushed)
	}
	return s.loadFiles(ctx)
}

func (c *conn) offsets(ctx context.Context) (map[int]store.Offset, error) {
	r, err := c.query(ctx, `SELECT "partition", incarnation, seq, revision FROM offsets`)
	if err != nil {
		return nil, err
	}
	defer r.close()
	all := map[int]store.Offset{}
	for r.next() {
		for i := range r.rows {
			all[int(r.int32(0, i))] = store.Offset{Incarnation: r.string(1, i), Seq: r.uint64(2, i), Revision: r.uint64(3, i)}
		}
	}
	return all, nil
}

// number runs a query for one BIGINT; null is 0.
func (c *conn) number(ctx context.Context, sql string, args ...any) (int64, error) {
	r, err := c.query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	defer r.close()
	if !r.next() || r.null(0, 0) {
		return 0, nil
	}
	return r.int64(0, 0), nil
}
