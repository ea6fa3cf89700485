package backup

import (
	"context"
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// A commit of a restore has at most so much.
const (
	commitRows  = 50_000
	commitBytes = 32 << 20
	// commitTransitions is how many transitions are committed at once.
	commitTransitions = 1000
)

// transitions restores them in their order, which gives them the numbers that they had.
func (r *restoring) transitions(ctx context.Context, of func(partition int) *store.Commit) error {
	var all []alert.Transition
	err := readLines(r.dir, r.m.Incidents, func(l *transitionLine) error {
		t, err := l.transition()
		all = append(all, t)
		return err
	})
	if err != nil {
		return err
	}
	r.result.Transitions = len(all)
	var offset store.Offset
	for rest := all; len(rest) > 0; {
		n := min(len(rest), commitTransitions)
		if offset, err = r.events.Commit(ctx, &store.Commit{From: offset, Transitions: rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, s := range alert.OpenStates(all) {
		c := of(tenant.Partition(s.Tenant, len(r.m.Partitions)))
		c.States = append(c.States, s)
	}
	return nil
}

// filler restores the events of one partition.
type filler struct {
	*restoring
	partition   int
	parquet     *duckdb.Parquet
	definitions []catalog.Definitions
	last        *store.Commit // what the last commit has besides; nil for nothing

	metrics   map[tenant.ID]*metric.Set
	none      *metric.Set
	recompute *process.Recompute
	batch     *batch
	position  event.Position
	batches   chan *batch
}

// batch is what is committed at once.
type batch struct {
	events  []event.Stored
	rollups []series.Rollup
	bytes   int
}

// fill reads and computes in one goroutine, and commits in another.
func (f *filler) fill(ctx context.Context) error {
	f.metrics, f.none = map[tenant.ID]*metric.Set{}, metric.NewSet(nil)
	for _, d := range f.definitions {
		f.metrics[d.Tenant] = d.Metrics
	}
	f.recompute = process.NewRecompute(f.MaxSeries, func(tenant.ID, int64) {})
	f.batch, f.batches = &batch{}, make(chan *batch, 1)
	state, err := f.events.Partition(ctx, f.partition)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		defer close(f.batches)
		if err := f.read(reading); err != nil {
			stop(err)
		}
	}()
	offset := state.Offset // transitions are committed already
	for b := range f.batches {
		if err != nil {
			continue // the reader ends soon
		}
		to := store.Offset{Incarnation: f.incarnations[f.partition], Seq: b.events[len(b.events)-1].Seq}
		offset, err = f.events.Commit(ctx, &store.Commit{Partition: f.partition, From: offset, To: to, Events: b.events, Rollups: b.rollups})
		if err != nil {
			stop(err)
		}
		f.result.Events += uint64(len(b.events))
		f.tell(Progress{Phase: PhaseRestore, Done: f.result.Events, Total: f.m.Count(), Events: f.result.Events})
	}
	if err := context.Cause(reading); err != nil {
		return err
	}
	return f.finish(ctx, offset)
}

// read reads all files of the partition.
func (f *filler) read(ctx context.Context) error {
	for _, file := range f.m.Events {
		if file.Partition != f.partition {
			continue
		}
		rows := uint64(0)
		err := f.parquet.Read(ctx, join(f.dir, file.Path), func(ev *event.Stored) error {
			rows++
			return f.event(ctx, &file, ev)
		})
		if err != nil {
			return err
		}
		if rows != file.Rows {
			return fmt.Errorf("%w: %s has %d events, written were %d", ErrDamaged, file.Path, rows, file.Rows)
		}
	}
	return f.send(ctx)
}

func (f *filler) event(ctx context.Context, file *EventFile, ev *event.Stored) error {
	if ev.Seq < file.FromSeq || ev.Seq > file.ToSeq || ev.Partition != f.partition || f.position != (event.Position{}) && !f.position.Before(ev.Position) {
		return fmt.Errorf("%w: %s has an event at %d/%d of partition %d, which does not belong there", ErrDamaged, file.Path, ev.Seq, ev.Index, ev.Partition)
	}
	f.position = ev.Position
	set := f.metrics[ev.Tenant]
	if set == nil {
		set = f.none
	}
	if err := f.recompute.Add(ev, set); err != nil {
		f.result.Skipped++
		f.Logger.Error("an event is left out of metrics", "tenant.id", string(ev.Tenant), "pulsestream.sequence", ev.Seq, "error.message", err.Error())
	}
	b := f.batch
	b.events = append(b.events, *ev)
	b.bytes += len(ev.Data) + len(ev.Extensions) + 256
	if len(b.events) >= commitRows || b.bytes >= commitBytes {
		return f.send(ctx)
	}
	return nil
}

// send hands the batch over.
func (f *filler) send(ctx context.Context) error {
	b := f.batch
	if len(b.events) == 0 {
		return nil
	}
	b.rollups = f.recompute.Take()
	f.batch = &batch{}
	select {
	case f.batches <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish moves the offset to where the backup ends, and says of all metrics that their rollups are complete.
func (f *filler) finish(ctx context.Context, offset store.Offset) error {
	at := f.m.Partitions[f.partition]
	c := &store.Commit{Partition: f.partition}
	if f.last != nil {
		c = f.last
	}
	if at.Seq > 0 {
		c.To = store.Offset{Incarnation: f.incarnations[f.partition], Seq: at.Seq}
		upto := event.Position{Seq: at.Seq, Index: math.MaxUint32}
		for _, d := range f.definitions {
			for _, p := range d.Metrics.All() {
				c.Fills = append(c.Fills, store.Fill{Tenant: d.Tenant, Partition: f.partition, Metric: p.Definition().ID, Upto: upto, Done: upto, Complete: true, UpdatedAt: f.Now()})
			}
		}
	} else if f.last == nil {
		return nil
	}
	c.From = offset
	_, err := f.events.Commit(ctx, c)
	return err
}
