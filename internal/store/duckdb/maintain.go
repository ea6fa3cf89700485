package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// maintain merges files and makes checkpoints until ctx ends.
func (s *Store) maintain(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	full := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		full = s.keepUp(ctx, full)
	}
}

// keepUp merges what is to be merged, and makes a checkpoint if one is due. Full says, from one call to the next, that it could not for want of room, which is told once.
func (s *Store) keepUp(ctx context.Context, full bool) bool {
	if s.sick.Load() != nil {
		return full // what is in memory must not be written
	}
	what := "merging of segments"
	err := s.mergeAll(ctx, s.mergeSegments)
	if err == nil {
		what, err = "merging of rollups", s.mergeAll(ctx, s.mergeRollups)
	}
	// A checkpoint may fit into the file as it is, and it frees the log: it is not kept waiting by a merge that has no room.
	if err == nil || errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrBroken) {
		if failed := s.checkpointIfDue(ctx, s.now()); failed != nil {
			what, err = "checkpoint", failed
		}
	}
	again := errors.Is(err, store.ErrFull)
	switch {
	case err == nil && full:
		s.log.Info("events store: there is room for its upkeep again")
	case err != nil && ctx.Err() == nil && !(again && full):
		s.log.Error("events store: upkeep failed, it is tried again", slog.String("what", what), slog.Any("error", err))
	}
	return again
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
