package duckdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Parquet turns events into Parquet files and back. It has a DuckDB of its own, in memory, because no statement of a Store may reach a
// file. It is not for use by several goroutines at once.
//
// The files are open data: one row an event, with the columns of parquetColumns, compressed with zstd. Times are nanoseconds in UTC.
type Parquet struct {
	db *instance
	c  *conn
}

// Times become timestamps, so that whatever reads the file shows them as such; a bound is needed because DuckDB has no nanosecond timestamp for
// the two ends of the range, which it takes for infinities.
const parquetColumns = `tenant, "partition", seq, idx, id, source, type, subject,
	make_timestamp_ns("time") AS "time", make_timestamp_ns(received) AS received, identified, data, extensions`

// parquetMemory bounds what the DuckDB in memory may take.
const parquetMemory = 1 << 30

// NewParquet opens the DuckDB in memory. Threads is how many it may use.
func NewParquet(threads int) (*Parquet, error) {
	db, err := openInstance(":memory:", map[string]string{
		"memory_limit":                 strconv.Itoa(parquetMemory>>20) + "MiB",
		"threads":                      strconv.Itoa(max(1, threads)),
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
		"temp_directory":               "", // what does not fit is an error, and no files anywhere
		"lock_configuration":           "true",
	})
	if err != nil {
		return nil, err
	}
	p := &Parquet{db: db}
	if p.c, err = db.connect(); err == nil {
		err = p.reset()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// reset makes the table that events are gathered in anew, which gives its memory back.
func (p *Parquet) reset() error {
	err := p.c.exec(`CREATE OR REPLACE TABLE events (
		tenant VARCHAR, "partition" INTEGER, seq UBIGINT, idx UINTEGER, id VARCHAR, source VARCHAR, type VARCHAR,
		subject VARCHAR, "time" BIGINT, received BIGINT, identified BOOLEAN, data VARCHAR, extensions VARCHAR)`)
	return err
}

// Add gathers events for the next file. They are copied.
func (p *Parquet) Add(events []event.Stored) error {
	for i := range events {
		for _, t := range [...]int64{events[i].Time.UnixNano(), events[i].Received.UnixNano()} {
			if t <= -math.MaxInt64 || t == math.MaxInt64 {
				return fmt.Errorf("event %q of source %q has a time that cannot be written to Parquet", events[i].ID, events[i].Source)
			}
		}
	}
	return p.c.appendEvents(events)
}

// Write writes the gathered events, by tenant and place in the log, to a new file and forgets them. It returns how many there were.
// The file is not synced.
func (p *Parquet) Write(ctx context.Context, path string) (rows int, err error) {
	r, err := p.c.query(ctx, `COPY (SELECT `+parquetColumns+` FROM events ORDER BY tenant, seq, idx) TO `+literal(path)+
		` (FORMAT parquet, COMPRESSION zstd)`)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	defer r.close()
	if !r.next() {
		return 0, fmt.Errorf("write %s: DuckDB does not say how many rows it has written", path)
	}
	return int(r.int64(0, 0)), p.reset()
}

// errColumns is for a file that has not the columns of an event.
var errColumns = errors.New("not a file of events")

// Read calls each with every event of a file, in the order of the log. What it is given is the callback's to keep.
func (p *Parquet) Read(ctx context.Context, path string, each func(*event.Stored) error) error {
	r, err := p.c.query(ctx, `SELECT tenant, "partition"::INTEGER, seq::UBIGINT, idx::UINTEGER, id, source, type, subject,
		epoch_ns("time"), epoch_ns(received), identified, data, extensions FROM read_parquet(`+literal(path)+`) ORDER BY seq, idx`)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer r.close()
	in := interner{}
	for r.next() {
		for i := range r.rows {
			for col := range 11 {
				if r.null(col, i) {
					return fmt.Errorf("read %s: %w: a column is null", path, errColumns)
				}
			}
			ev := r.stored(i, in)
			if err := each(&ev); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close forgets everything.
func (p *Parquet) Close() {
	if p.c != nil {
		p.c.close()
	}
	p.db.close()
}

// literal is text as SQL. COPY takes no parameter for the file.
func literal(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

func (c *conn) appendEvents(events []event.Stored) error {
	if len(events) == 0 {
		return nil
	}
	return c.appendRows("events", len(events), func(f *filling, from, to int) {
		for i := range events[from:to] {
			ev := &events[from+i]
			f.string(0, i, string(ev.Tenant))
			f.int32(1, i, part(ev.Partition))
			f.uint64(2, i, ev.Seq)
			f.uint32(3, i, ev.Index)
			f.string(4, i, ev.ID)
			f.string(5, i, ev.Source)
			f.string(6, i, ev.Type)
			f.string(7, i, ev.Subject)
			f.int64(8, i, ev.Time.UnixNano())
			f.int64(9, i, ev.Received.UnixNano())
			f.bool(10, i, ev.Identified)
			f.optional(11, i, ev.Data)
			f.optional(12, i, ev.Extensions)
		}
	})
}

// stored reads an event from the columns that Read selects. Strings that repeat are taken from in.
func (r *result) stored(row int, in interner) event.Stored {
	return event.Stored{
		Tenant: tenant.ID(in.string(r.view(0, row))), Partition: int(r.int32(1, row)),
		Position: event.Position{Seq: r.uint64(2, row), Index: r.uint32(3, row)},
		Event: event.Event{
			ID: r.string(4, row), Source: in.string(r.view(5, row)), Type: in.string(r.view(6, row)), Subject: r.string(7, row),
			Time: time.Unix(0, r.int64(8, row)).UTC(), Received: time.Unix(0, r.int64(9, row)).UTC(), Identified: r.bool(10, row),
			Data: r.bytes(11, row), Extensions: r.bytes(12, row),
		},
	}
}

// interner keeps one copy of the few strings that most rows share.
type interner map[string]string

func (in interner) string(b []byte) string {
	if s, ok := in[string(b)]; ok {
		return s
	}
	if len(in) >= 4096 {
		clear(in)
	}
	s := string(b)
	in[s] = s
	return s
}
