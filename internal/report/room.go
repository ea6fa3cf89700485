package report

import (
	"context"
	"fmt"
	"io"
	"syscall"
)

// A report is the least important thing that is written to the disk, so it leaves twice as much of it as ingest does, which closes its door at a
// twentieth of the disk or 1 GiB: no report ever is why events are refused.
const (
	reserveShare = 10
	reserveMost  = 2 << 30
)

// Disk says how many bytes are free, and how large the file system is, at a path.
type Disk func(path string) (free, size uint64, err error)

// SystemDisk asks the operating system.
func SystemDisk(path string) (free, size uint64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, 0, fmt.Errorf("how full is the disk: %w", err)
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil //nolint:gosec // a block size is positive
}

// fits says whether need more bytes leave the reserve alone.
func fits(free, size, need uint64) bool { return free >= need+min(size/reserveShare, reserveMost) }

// room says that need more bytes cannot be written, or nil.
func (s *Service) room(need uint64) error {
	free, size, err := s.cfg.Disk(s.cfg.Dir)
	if err != nil {
		return err
	}
	if !fits(free, size, need) {
		return fmt.Errorf("%w: %d MiB are free, and %d MiB are left for events: make room, or ask for less", ErrNoRoom, free>>20, min(size/reserveShare, reserveMost)>>20)
	}
	return nil
}

// file is what a report is written to. It asks for room before each write, counts, and ends with its context.
type file struct {
	ctx  context.Context //nolint:containedctx // a file is written by one call
	to   io.Writer
	room func(need uint64) error
	note func(written int64)
	n    int64
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, context.Cause(f.ctx)
	}
	if err := f.room(uint64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.to.Write(p)
	f.n += int64(n)
	f.note(f.n)
	return n, err
}
