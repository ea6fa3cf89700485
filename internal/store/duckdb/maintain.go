package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/contain"
	"github.com/pulsestream/pulsestream/internal/store"
)

// maintain merges files and makes checkpoints until ctx ends.
func (s *Store) maintain(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	tasks := s.upkeep()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.keepUp(ctx, tasks)
	}
}

// upkeep is what there is to do again and again. A task that fails keeps no other from being done.
func (s *Store) upkeep() []*task {
	return []*task{
		{what: "merging of segments", most: mergeRest, do: func(ctx context.Context) error { return s.mergeAll(ctx, s.mergeSegments) }},
		{what: "merging of rollups", most: mergeRest, do: func(ctx context.Context) error { return s.mergeAll(ctx, s.mergeRollups) }},
		{what: "checkpoint", most: shortRest, do: func(ctx context.Context) error { return s.checkpointIfDue(ctx, s.now()) }},
	}
}

// keepUp does what is not resting.
func (s *Store) keepUp(ctx context.Context, tasks []*task) {
	for _, t := range tasks {
		if s.sick.Load() != nil {
			return // what is in memory must not be written
		}
		if t.rest > 0 {
			t.rest--
			continue
		}
		err := t.run(ctx)
		switch say := t.after(err); {
		case !say || ctx.Err() != nil:
		case err == nil:
			s.log.Info("events store: its upkeep works again", slog.String("what", t.what))
		default:
			s.log.Error("events store: upkeep failed, it is tried again", slog.String("what", t.what), slog.Any("error", err))
		}
	}
}

// task is a part of the upkeep.
type task struct {
	what   string
	do     func(context.Context) error
	most   int  // how often it is left out at most
	failed int  // how often one after the other
	full   bool // the last time, for want of room
	rest   int  // how often it is not done now
}

// How many times, which are seconds, something that fails again and again is left out at most. A merge may read hundreds of megabytes before it fails; what waits
// for room is to go on soon when there is some.
const (
	mergeRest = 300
	shortRest = 10
)

// run makes a panic an error, so that only the task fails.
func (t *task) run(ctx context.Context) (err error) {
	defer contain.Panic(&err)
	return t.do(ctx)
}

// after decides how long the task rests, and whether what has become of it is worth a line of the log: want of room is told once.
func (t *task) after(err error) (say bool) {
	full := errors.Is(err, store.ErrFull)
	if err == nil {
		say = t.failed > 0
		t.failed, t.full = 0, false
		return say
	}
	say, most := !full || !t.full, t.most
	if full {
		most = min(most, shortRest)
	}
	t.rest = min(1<<min(t.failed, 30), most) - 1
	t.failed++
	t.full = full
	return say
}

// mergeAll merges as long as there is something to merge.
func (s *Store) mergeAll(ctx context.Context, merge func(context.Context) (bool, error)) error {
	for ctx.Err() == nil {
		if merged, err := merge(ctx); !merged || err != nil {
			return err
		}
	}
	return nil
}

// checkpointIfDue writes the write-ahead log into the file when it is big.
func (s *Store) checkpointIfDue(ctx context.Context, now time.Time) error {
	info, err := os.Stat(s.path + ".wal")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !checkpointDue(info.Size(), s.logSize, now.Sub(time.Unix(0, s.committed.Load()))) {
		return nil
	}
	if err := s.roomForCheckpoint(ctx); err != nil {
		return err
	}
	err = s.checkpoint(ctx)
	if err != nil && strings.Contains(err.Error(), "other write transactions active") && info.Size() < 4*s.logSize {
		return nil // seen under load now and then, with one writer, which waits: it is tried again in a second
	}
	return err
}

// checkpointDue says whether a log of that size should be written into the file, when the last commit was that long ago. Commits wait for a
// checkpoint, for some 5 ms for each megabyte of the log; so it is better made while there are none.
func checkpointDue(size, bound int64, idle time.Duration) bool {
	return size >= bound || size >= bound/4 && idle >= time.Second
}

// checkpoint holds off commits while it runs.
func (s *Store) checkpoint(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.writer.exec(`CHECKPOINT`); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
