package backup

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// Verify reads every file of a backup and compares it with its checksum.
func Verify(ctx context.Context, dir string, tell func(Progress)) (*Manifest, error) {
	m, err := Load(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	total := uint64(m.Bytes()) //nolint:gosec // a size
	var done atomic.Uint64
	var telling sync.Mutex
	seen := func(n int) {
		read := done.Add(uint64(n)) //nolint:gosec // a size
		if tell != nil && telling.TryLock() {
			tell(Progress{Phase: PhaseVerify, Done: read, Total: total})
			telling.Unlock()
		}
	}
	queue := make(chan File)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for f := range queue {
				if err := verify(ctx, dir, f, seen); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, f := range m.files() {
		select {
		case queue <- f:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if tell != nil {
		tell(Progress{Phase: PhaseVerify, Done: total, Total: total})
	}
	return m, nil
}

// errNotEmpty is for a data directory that a restore must not touch.
var errNotEmpty = errors.New("a restore needs a new data directory")
