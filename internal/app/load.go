package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
)

// load watches how far the store is behind the log and how full the disk is, and says from that whether events can be taken,
// and how far a rebuild is.
type load struct {
	log    *bus.Bus
	events *resilient.Store
	marks  []atomic.Uint64
	dir    string
	now    func() time.Time
	said   *slog.Logger

	pressure ingest.Pressure
	rebuild  *resilient.Rebuild // the last that was noticed

	mu       sync.Mutex
	at       time.Time
	backlog  uint64
	written  uint64  // bytes that the log has taken, by the same measure as backlog
	rate     float64 // bytes a second that the workers take off the backlog
	progress float64
}

const loadInterval = 250 * time.Millisecond

// begin finds out where the store stands.
func (l *load) begin(ctx context.Context) error {
	for p := range l.marks {
		state, err := l.events.Partition(ctx, p)
		if err != nil {
			return fmt.Errorf("read the offset of partition %d: %w", p, err)
		}
		l.marks[p].Store(state.Offset.Seq)
	}
	l.rebuild = l.events.Rebuilding()
	l.look(ctx)
	return nil
}

// watch looks until ctx ends.
func (l *load) watch(ctx context.Context) {
	ticker := time.NewTicker(loadInterval)
	defer ticker.Stop()
	refusing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.look(ctx)
		if err := l.pressure.Err(); (err != nil) != refusing {
			refusing = err != nil
			if refusing {
				l.said.Warn("events are refused for now", "error.message", err.Error())
			} else {
				l.said.Info("events are taken again")
			}
		}
	}
}

func (l *load) look(ctx context.Context) {
	if r := l.events.Rebuilding(); r != l.rebuild && r != nil {
		if err := l.begin(ctx); err != nil { // the new store begins at the log's beginning
			return
		}
	}
	var backlog, written, messages uint64
	for p := range l.marks {
		n, b := l.log.Pending(p, l.marks[p].Load())
		backlog, messages = backlog+b, messages+n
		_, all := l.log.Pending(p, 0)
		written += all
	}
	now := l.now()
	l.mu.Lock()
	if d := now.Sub(l.at).Seconds(); !l.at.IsZero() && d > 0 && (l.backlog > 0 || backlog > 0) {
		// What came in and is not there any more was taken off.
		taken := float64(l.backlog) + float64(written) - float64(l.written) - float64(backlog)
		l.rate = 0.8*l.rate + 0.2*max(0, taken)/d
	}
	l.at, l.backlog, l.written = now, backlog, written
	if l.progress = 1; written > 0 {
		l.progress = 1 - float64(backlog)/float64(written)
	}
	in := ingest.Load{Backlog: backlog, Rate: l.rate}
	l.mu.Unlock()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.dir, &fs); err == nil {
		in.Free, in.Size = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize) //nolint:gosec // a block size is positive
	}
	l.pressure.Update(in)
	if messages == 0 && l.events.Rebuilding() != nil && !l.events.Broken() {
		l.said.Info("the store of events is complete again")
		l.events.Rebuilt()
	}
}

// refuse says why events can't be taken, or nil.
func (l *load) refuse() error {
	if err := l.log.Healthy(); err != nil {
		return err
	}
	return l.pressure.Err()
}

// rebuilding says how far a rebuild is.
func (l *load) rebuilding() *api.Rebuilding {
	r := l.events.Rebuilding()
	if r == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &api.Rebuilding{Since: r.Since, Reason: r.Reason, SetAside: r.SetAside, Progress: l.progress}
}
