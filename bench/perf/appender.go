//go:build linux

package perf

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"time"

	"github.com/duckdb/duckdb-go/v2" //nolint:depguard // the ceiling is DuckDB by itself, without the store around it

	"github.com/pulsestream/pulsestream/bench/load"
)

const (
	appenderRows = 300_000
	appenderUnit = 10_000 // rows a transaction
)

// row is an event as DuckDB's Appender is given it.
type row struct {
	tenant, id, source, kind, subject, data string
	at                                      time.Time
}

// rows reads events of the load, beforehand: parsing is no part of what is measured.
func rows(p *load.Pool, n int) ([]row, error) {
	var out []row
	var failed error
	p.Lines(func(tenant int, line []byte) bool {
		var e struct {
			ID, Source, Type, Subject string
			Data                      json.RawMessage
		}
		if failed = json.Unmarshal(line, &e); failed != nil {
			return false
		}
		out = append(out, row{tenant: "tenant-" + strconv.Itoa(tenant), id: e.ID, source: e.Source, kind: e.Type, subject: e.Subject, data: string(e.Data),
			at: time.UnixMilli(1_800_000_000_000 + int64(len(out)))})
		return len(out) < n
	})
	return out, failed
}

// appender measures the same rows going into DuckDB and nothing else: no log, no other copy, no rollups. The checkpoint at the
// end is no part of it.
func (r *run) appender(ctx context.Context, p *load.Pool) (err error) {
	all, err := rows(p, pool)
	if err != nil {
		return err
	}
	dir, done, err := r.dir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	c, err := duckdb.NewConnector(filepath.Join(dir, "bare.duckdb"), nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, text := range []string{`SET checkpoint_threshold = '1GB'`, `CREATE TABLE events (tenant VARCHAR, id VARCHAR, source VARCHAR, type VARCHAR, subject VARCHAR, time TIMESTAMP, data VARCHAR)`} {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	own, start := ownCPU(), time.Now()
	for n := 0; n < appenderRows; n += appenderUnit {
		if err := appendRows(conn, all, n); err != nil {
			return err
		}
	}
	r.report.note(ceilingsPart, "bare DuckDB Appender", "events/s", appenderRows/time.Since(start).Seconds())
	r.report.note(ceilingsPart, "bare DuckDB Appender, CPU an event", "µs", micros(ownCPU()-own, appenderRows))
	return nil
}

// appendRows writes one transaction.
func appendRows(conn driver.Conn, all []row, from int) error {
	a, err := duckdb.NewAppenderFromConn(conn, "", "events")
	if err != nil {
		return err
	}
	for i := range appenderUnit {
		e := &all[(from+i)%len(all)]
		if err := a.AppendRow(e.tenant, e.id, e.source, e.kind, e.subject, e.at, e.data); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	return a.Close()
}
