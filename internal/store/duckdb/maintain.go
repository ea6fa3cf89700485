package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// maintain compacts and checkpoints until ctx ends.
func (s *Store) maintain(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if merged, err := s.compactDue(ctx, s.now()); err != nil {
			s.failed(ctx, "compaction of rollups", err)
		} else if merged > 0 {
			s.log.Debug("compacted rollups", slog.Int("rows_fewer", merged))
		}
		if err := s.checkpointIfDue(ctx, s.now()); err != nil {
			s.failed(ctx, "checkpoint", err)
		}
	}
}

func (s *Store) failed(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.log.Error("events store: upkeep failed, it is tried again", slog.String("what", what), slog.Any("error", err))
	}
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
	return s.checkpoint(ctx)
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
	if _, err := s.writer.exec(`CHECKPOINT`); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
