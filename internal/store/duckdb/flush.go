package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/store/rollup"
	"github.com/pulsestream/pulsestream/internal/store/segment"
)

// flushLoop writes what is due until ctx ends.
func (s *Store) flushLoop(ctx context.Context) {
	tick := time.NewTicker(flushAge / 20)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.due:
		case <-tick.C:
		}
		s.mem.mu.Lock()
		number, due, frozen := s.mem.active.number, s.mem.active.due(s.now()), s.mem.frozen
		bytes, empty := s.mem.active.tail.Bytes(), s.mem.active.empty()
		s.mem.mu.Unlock()
		due = due || !empty && s.filling(bytes)
		if number, due = upTo(number, due, frozen); !due || s.sick.Load() != nil {
			continue
		}
		err := s.flush(ctx, number)
		if err != nil && ctx.Err() == nil && !failing {
			s.log.Error("events store: what was committed could not be written to disk; it is kept in memory and tried again", slog.Any("error", err))
		}
		if failing && err == nil {
			s.log.Info("events store: what was committed is on disk again")
		}
		failing = err != nil
	}
}

// upTo is what is flushed: all that there is if that is due, else what could not be written before, or is being written now. What has come since
// then has its own time.
func upTo(active int64, due bool, frozen *recent) (number int64, flush bool) {
	if !due && frozen != nil {
		return frozen.number, true
	}
	return active, due
}

// filling says that the disk may be full soon: what is in memory is better written while there is room.
func (s *Store) filling(bytes int) bool {
	free, size, err := s.disk()
	return err == nil && size > 0 && free < 2*(uint64(bytes)+min(size/fillingShare, fillingMost)) //nolint:gosec // not negative
}

// The free part of the disk below which every commit is written soon: about as much as is left when ingest refuses events.
const (
	fillingShare = 20
	fillingMost  = 1 << 30
)

// flushUrgent has what must be seen in the tables written, before they are read. On a full disk they are read as they are.
func (s *Store) flushUrgent(ctx context.Context) error {
	number := int64(0)
	s.mem.mu.Lock()
	for _, r := range s.mem.recents(s.flushed.Load()) {
		if len(r.urgent) > 0 {
			number = r.number
		}
	}
	s.mem.mu.Unlock()
	if number == 0 {
		return nil
	}
	if err := s.flush(ctx, number); !errors.Is(err, store.ErrFull) {
		return err
	}
	return nil
}

func (s *Store) flushAll(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mem.mu.Lock()
	number := s.mem.active.number
	s.mem.mu.Unlock()
	return s.flush(ctx, number)
}

// flush returns once all commits that were added to the recent of that number, or an earlier one, are on disk.
func (s *Store) flush(ctx context.Context, number int64) error {
	select {
	case s.flushing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.flushing }()
	for s.flushed.Load() < number {
		s.mem.mu.Lock()
		if s.mem.frozen == nil {
			if s.mem.active.empty() {
				s.mem.mu.Unlock()
				return nil
			}
			s.mem.frozen, s.mem.active = s.mem.active, newRecent(s.mem.active.number+1, s.mem.most, &s.mem.slabs)
		}
		r := s.mem.frozen
		s.mem.mu.Unlock()
		if err := s.persist(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// persist writes what is frozen to disk: its events as a segment, its rollups as a file beside it, all else in one transaction, which also says that
// those are there.
func (s *Store) persist(ctx context.Context, r *recent) error {
	if err := s.room(uint64(r.tail.Bytes()) + r.tables()); err != nil { //nolint:gosec // not negative
		return err
	}
	f, err := s.sealFlush(r)
	if err == nil {
		err = s.write(ctx, func(c *conn, gen int64) error {
			if err := s.room(r.tables()); err != nil { // it may have waited for its turn
				return err
			}
			return c.persist(ctx, r, f, gen)
		})
	}
	if err != nil {
		return errors.Join(err, f.discard(err))
	}
	s.committed.Store(s.now().UnixNano())
	s.mem.handover.Lock()
	s.mem.mu.Lock()
	s.mem.frozen = nil
	r.over = true
	if f.seg != nil {
		s.mem.segments = s.mem.segments.with(f.seg, f.segEntry)
	}
	if f.rolled != nil {
		s.mem.rollups = s.mem.rollups.with(f.rolled, f.rolledEntry)
	}
	s.flushed.Store(r.number)
	r.free()
	s.mem.mu.Unlock()
	s.mem.handover.Unlock()
	return nil
}

// flushFiles are the files of a flush, nil where there is none.
type flushFiles struct {
	seg         *segment.Segment
	rolled      *rollup.File
	segEntry    fileEntry
	rolledEntry fileEntry
}

// sealFlush makes the files of a flush.
func (s *Store) sealFlush(r *recent) (f flushFiles, err error) {
	if r.tail.Len() > 0 {
		if f.seg, f.segEntry, err = s.seal(s.builder, &r.tail); err != nil {
			return f, err
		}
	}
	s.mem.settle(r)
	if r.cells > 0 {
		f.rolled, f.rolledEntry, err = s.sealRollups(r.minutes())
	}
	return f, err
}

// discard lets go of the files.
func (f *flushFiles) discard(failed error) (err error) {
	if f.seg != nil {
		err = discard(f.seg, failed)
	}
	if f.rolled != nil {
		err = errors.Join(err, discard(f.rolled, failed))
	}
	return err
}

// discard lets go of a file that no transaction has taken up. It stays when the transaction may be on disk all the same: the next start looks.
func discard(f sealed, failed error) error {
	if !errors.Is(failed, store.ErrBroken) {
		f.Remove()
	}
	return f.Release()
}

// tables is about how many bytes a recent will take in its file of rollups, in the tables, and in their log.
func (r *recent) tables() uint64 { return 64<<10 + uint64(r.cells*rollupBytes)/4 + r.rest } //nolint:gosec // not negative

// persist writes all of a recent but what its files have, and that those are there.
func (c *conn) persist(ctx context.Context, r *recent, f flushFiles, gen int64) error {
	for partition, to := range r.offsets {
		if err := c.moveOffset(ctx, partition, to); err != nil {
			return err
		}
	}
	if f.seg != nil {
		if err := c.addFile(eventFiles(), f.segEntry); err != nil {
			return err
		}
	}
	if f.rolled != nil {
		if err := c.addFile(rollupFiles(), f.rolledEntry); err != nil {
			return err
		}
	}
	if err := c.addUsage(r, gen); err != nil {
		return err
	}
	for partition, p := range r.parts {
		if err := c.replaceFills(p.fills, gen); err != nil {
			return err
		}
		if err := c.replaceStates(partition, p.states, gen); err != nil {
			return err
		}
	}
	for _, m := range r.urgent {
		if err := c.replaceQuarantine(ctx, m); err != nil {
			return err
		}
		if err := c.addTransitions(ctx, m.Transitions); err != nil {
			return err
		}
	}
	err := c.exec(`UPDATE flushed SET number = $1`, r.number)
	return err
}

// moveOffset writes a partition's offset. That it follows the one before was decided when the commit was added.
func (c *conn) moveOffset(ctx context.Context, partition int, to store.Offset) error {
	_, found, err := c.offset(ctx, partition)
	if err != nil {
		return err
	}
	sql := `INSERT INTO offsets ("partition", incarnation, seq, revision) VALUES ($1, $2, $3, $4)`
	if found {
		sql = `UPDATE offsets SET incarnation = $2, seq = $3, revision = $4 WHERE "partition" = $1`
	}
	err = c.exec(sql, part(partition), to.Incarnation, to.Seq, to.Revision)
	return err
}

// fileError says what a fault of a segment's file means to whoever uses the store.
func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pieces.ErrDamaged):
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case errors.Is(err, pieces.ErrUnreadable), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", store.ErrBroken, err)
	}
	return err
}
