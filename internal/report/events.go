package report

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Events that come one by one go to the encoder in batches, so that reading and writing are done at the same time. A batch holds copies of its
// events.
const (
	batchRows  = 4096
	batchBytes = 4 << 20
	batches    = 4 // one is filled, the others are encoded
)

// sink writes events in some format. Add calls release, once, when it has done with them, which may be after it has returned, and whether or not it
// succeeds. Close writes what is left, and does not close what is below.
type sink interface {
	add(events []event.Stored, release func()) error
	close() error
}

func newSink(f Format, w io.Writer) sink {
	if f == Parquet {
		return newParquetEvents(w)
	}
	return newCSVEvents(w)
}

// events writes a report of events: in about the order of time where the store has them in batches, else in the order of the log.
func (s *Service) events(ctx context.Context, j *job, r *Report, w io.Writer) error {
	out := newSink(r.Format, w)
	err := store.ErrOneByOne
	if rows, ok := s.cfg.Events.(store.Rows); ok {
		err = rows.Rows(ctx, r.Tenant, r.filter(), func(events []event.Stored, done float64, release func()) error {
			return j.add(out, events, inMillionths(done), release)
		})
	}
	if errors.Is(err, store.ErrOneByOne) {
		err = s.scan(ctx, j, r, out)
	}
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		return err
	}
	return out.close()
}

func (j *job) add(out sink, events []event.Stored, progress uint64, release func()) error {
	n := int64(len(events))
	if err := out.add(events, release); err != nil {
		return err
	}
	j.rows.Add(n)
	j.progress.Store(progress)
	return nil
}

// scan takes events one by one.
func (s *Service) scan(ctx context.Context, j *job, r *Report, out sink) error {
	state, err := s.cfg.Events.Partition(ctx, tenant.Partition(r.Tenant, s.cfg.Partitions))
	if err != nil {
		return err
	}
	meter := meter{last: state.Offset.Seq}
	return pump(ctx, func(ctx context.Context, each func(*event.Stored) error) error {
		return s.cfg.Events.Scan(ctx, r.Tenant, store.Scan{EventFilter: r.filter()}, each)
	}, func(events []event.Stored, release func()) error {
		return j.add(out, events, meter.at(events[len(events)-1].Seq), release)
	})
}

// inMillionths is progress in millionths: never all, which only a whole file is.
func inMillionths(done float64) uint64 { return uint64(math.Min(done, 0.99) * millionths) }

// meter tells from the place in the log how much of a scan is done. Of a log that began anew under stored events it knows nothing, and stands still.
type meter struct {
	first, last uint64
	most        uint64
}

// at is the progress in millionths: never back, and never all, which only a whole file is.
func (m *meter) at(seq uint64) uint64 {
	if m.first == 0 {
		m.first = seq
	}
	if m.first <= seq && seq <= m.last {
		done := float64(seq-m.first+1) / float64(m.last-m.first+1)
		m.most = max(m.most, inMillionths(done))
	}
	return m.most
}

var errStopped = errors.New("the other end of a report has stopped")

// pump hands what scan gives, in batches, to add, which runs beside it and must release them. It returns when it has.
func pump(ctx context.Context, scan func(context.Context, func(*event.Stored) error) error, add func([]event.Stored, func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	full, free := make(chan []event.Stored, batches), make(chan []event.Stored, batches)
	for range batches {
		free <- nil // made when it is needed: most reports are small
	}
	added := make(chan error, 1)
	go func() {
		var err error
		var lent sync.WaitGroup
		for b := range full {
			if err != nil {
				free <- b
				continue
			}
			lent.Add(1)
			err = add(b, func() {
				clear(b)
				free <- b[:0]
				lent.Done()
			})
			if err != nil {
				cancel(errStopped)
			}
		}
		lent.Wait()
		added <- err
	}()
	f := filler{ctx: ctx, full: full, free: free}
	err := scan(ctx, f.add)
	if err == nil {
		f.send()
	}
	close(full)
	if failed := <-added; failed != nil {
		return failed
	}
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// filler gathers batches.
type filler struct {
	ctx   context.Context //nolint:containedctx // a filler is one scan
	full  chan<- []event.Stored
	free  <-chan []event.Stored
	batch []event.Stored
	arena []byte // of what batch refers to: an event is only lent
	held  bool
}

func (f *filler) add(ev *event.Stored) error {
	if !f.held {
		select {
		case f.batch = <-f.free:
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
		f.held = true
	}
	f.batch = append(f.batch, *ev)
	f.arena = f.batch[len(f.batch)-1].Keep(f.arena)
	if len(f.batch) >= batchRows || len(f.arena) >= batchBytes {
		f.send()
	}
	return nil
}

// send passes the batch on. There is always room for it: there are no more batches than places.
func (f *filler) send() {
	if f.held && len(f.batch) > 0 {
		f.full <- f.batch
	}
	f.batch, f.arena, f.held = nil, nil, false
}
