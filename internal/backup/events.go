package backup

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// A file of events is written when it has one of these.
const (
	fileRows  = 256 << 10
	fileBytes = 128 << 20
	// addRows is how many events are handed over at once.
	addRows = 4096
	// firstWindow is how many messages are read before it is known how many events they have. A message has less than a megabyte.
	firstWindow = 64
)

// events writes the events that the backup before has not.
func (r *run) events(ctx context.Context) error {
	if len(r.todo) == 0 {
		return nil
	}
	tenants, err := r.tenants(ctx)
	if err != nil {
		return err
	}
	parquet, err := duckdb.NewParquet(r.Threads)
	if err != nil {
		return err
	}
	defer parquet.Close()
	for _, s := range r.todo {
		w := &writer{run: r, parquet: parquet, stretch: s, tenants: tenants[s.partition]}
		if err := w.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tenants gives those of each partition.
func (r *run) tenants(ctx context.Context) (map[int][]tenant.ID, error) {
	all, err := r.Catalog.List(ctx, "", store.KindTenant)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	of := map[int][]tenant.ID{}
	for _, t := range all {
		p := tenant.Partition(t.Tenant, r.Log.Partitions())
		of[p] = append(of[p], t.Tenant)
	}
	return of, nil
}

// writer writes one stretch.
type writer struct {
	*run
	stretch
	parquet *duckdb.Parquet
	tenants []tenant.ID
	buf     []event.Stored
	arena   []byte // of what buf refers to: an event is only lent
	rows    uint64 // gathered for the file, what is in buf included
	bytes   int
	width   uint64 // of the window in hand, in messages
}

// write goes through the stretch in windows of messages, and in each through the tenants: so whatever the number of tenants, a file has a
// stretch of its own, and what has to be held is bounded.
func (w *writer) write(ctx context.Context) error {
	w.width, w.arena = firstWindow, make([]byte, 0, 1<<20)
	begin := w.from
	for from := w.from; from <= w.to; {
		to := w.to
		if w.to-from >= w.width {
			to = from + w.width - 1
		}
		rows, bytes := w.rows, w.bytes
		if err := w.window(ctx, from, to); err != nil {
			return err
		}
		w.widen(to-from+1, w.rows-rows, w.bytes-bytes)
		w.messages += to - from + 1
		if to == w.to || w.rows >= w.run.rows || w.bytes >= fileBytes {
			if err := w.flush(ctx, begin, to); err != nil {
				return err
			}
			begin = to + 1
		}
		w.tell(Progress{Phase: PhaseEvents, Done: w.messages, Total: w.total, Events: w.result.Events + w.rows})
		from = to + 1
	}
	return nil
}

// widen decides how wide the next window is by how full this one was: a quarter of a file.
func (w *writer) widen(messages, rows uint64, bytes int) {
	full := max(float64(rows)/(float64(w.run.rows)/4), float64(bytes)/(fileBytes/4), 1.0/16)
	w.width = uint64(max(1, min(float64(messages)/full, 1<<40)))
}

// window gathers the events of some messages.
func (w *writer) window(ctx context.Context, from, to uint64) error {
	upto := event.Position{Seq: to, Index: math.MaxUint32}
	scan := store.Scan{After: event.Position{Seq: from - 1, Index: math.MaxUint32}, Upto: &upto}
	for _, t := range w.tenants {
		err := w.Events.Scan(ctx, t, scan, func(ev *event.Stored) error {
			w.buf = append(w.buf, *ev)
			w.arena = w.buf[len(w.buf)-1].Keep(w.arena)
			w.rows++
			w.bytes += len(ev.Data) + len(ev.Extensions) + len(ev.ID) + len(ev.Subject) + 64
			if len(w.buf) < addRows {
				return nil
			}
			return w.add()
		})
		if err != nil {
			return fmt.Errorf("read the events of %s: %w", t, err)
		}
	}
	return w.add()
}

func (w *writer) add() error {
	err := w.parquet.Add(w.buf)
	clear(w.buf)
	w.buf, w.arena = w.buf[:0], w.arena[:0]
	return err
}

// errRows is for a file that has not as many events as were handed over.
var errRows = errors.New("a file of events has not the rows that it should have")

// flush writes a file, unless there are no events.
func (w *writer) flush(ctx context.Context, from, to uint64) error {
	if w.rows == 0 {
		return nil
	}
	if err := w.step("events file"); err != nil {
		return err
	}
	name := fmt.Sprintf("%s/partition-%04d-%s-%012d-%012d.parquet", eventsDir, w.partition, w.next.Partitions[w.partition].Incarnation, from, to)
	f, err := place(ctx, w.dir, name, func(path string) (uint64, error) {
		n, err := w.parquet.Write(ctx, path)
		if err == nil && uint64(n) != w.rows { //nolint:gosec // a count
			err = fmt.Errorf("%w: %d, %d events were read", errRows, n, w.rows)
		}
		return uint64(n), err //nolint:gosec // a count
	})
	if err != nil {
		return err
	}
	w.next.Events = append(w.next.Events, EventFile{File: f, Partition: w.partition, FromSeq: from, ToSeq: to})
	w.next.Partitions[w.partition].Events += w.rows
	w.result.Events += w.rows
	w.result.Files++
	w.result.Bytes += f.Bytes
	w.rows, w.bytes = 0, 0
	return nil
}
