package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// load watches how far the store is behind the log and how full the disk is, and says from that whether events can be taken,
// and how far a rebuild is.
type load struct {
	loadConfig

	pressure ingest.Pressure
	room     *limit.Room
	noticed  *resilient.Rebuild // the last
	known    bool               // that the log has been up

	mu       sync.Mutex
	at       time.Time
	backlog  uint64
	written  uint64   // bytes that the log has taken, by the same measure as backlog
	floors   []uint64 // the least that waited of each partition: what was there before does not count
	rate     float64  // bytes a second that the workers take off the backlog
	taken    int64    // bytes of events that ingest has brought
	packed   packing
	progress float64
}

// loadConfig is what a load looks at.
type loadConfig struct {
	log     pending
	events  store.Events
	rebuild rebuilt
	marks   []atomic.Uint64 // how far the store has read each partition
	dir     string          // on the disk that the log is on; empty when that is not this machine's
	now     func() time.Time
	said    *slog.Logger
	// stalled says why a worker cannot go on, or nil.
	stalled func() error
}

// pending is what a load asks the log.
type pending interface {
	Healthy() error
	Pending(p int, after uint64) (messages, bytes uint64)
	Losses() []bus.Loss
}

// rebuilt is what a load asks about a store of events that may be replaced.
type rebuilt interface {
	Rebuilding() *resilient.Rebuild
	Rebuilt()
	Broken() bool
}

func newLoad(c loadConfig) *load { return &load{loadConfig: c, room: limit.NewRoom(requestMemory)} }

// committed says how far a store has read the log.
func committed(events store.Events) func(context.Context, int) (string, uint64, error) {
	return func(ctx context.Context, partition int) (string, uint64, error) {
		state, err := events.Partition(ctx, partition)
		return state.Offset.Incarnation, state.Offset.Seq, err
	}
}

const loadInterval = 100 * time.Millisecond

// packing is how many bytes of events become how many bytes of the log, which compresses them; of late, and roughly.
type packing struct{ events, log float64 }

func (p *packing) add(events, log float64) {
	const keep = 0.95
	p.events, p.log = keep*p.events+events, keep*p.log+log
}

// unpacked is how many bytes of events so many bytes of the log are.
func (p *packing) unpacked(log uint64) int64 {
	if p.events < 4<<20 || p.log <= 0 { // the log's count is right to a mebibyte
		return int64(log) //nolint:gosec // a file's size
	}
	return int64(float64(log) * min(max(p.events/p.log, 0.5), 50))
}

// begin finds out where the store stands.
func (l *load) begin(ctx context.Context) error {
	for p := range l.marks {
		state, err := l.events.Partition(ctx, p)
		if err != nil {
			return fmt.Errorf("read the offset of partition %d: %w", p, err)
		}
		l.marks[p].Store(state.Offset.Seq)
	}
	l.noticed = l.rebuild.Rebuilding()
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
	if r := l.rebuild.Rebuilding(); r != l.noticed && r != nil {
		if err := l.begin(ctx); err != nil { // the new store begins at the log's beginning
			return
		}
		l.pressure.Restart()
		l.floors = nil
	}
	if !l.known {
		if l.known = l.log.Healthy() == nil; !l.known {
			return // it was started on a full disk: what waits in the log is not known yet
		}
	}
	var backlog, written, messages uint64
	waiting := make([]uint64, len(l.marks))
	if l.floors == nil {
		l.floors = make([]uint64, len(l.marks))
		for p := range l.floors {
			l.floors[p] = math.MaxUint64
		}
	}
	for p := range l.marks {
		n, b := l.log.Pending(p, l.marks[p].Load())
		l.floors[p] = min(l.floors[p], b)
		waiting[p] = b - l.floors[p]
		backlog, messages = backlog+b, messages+n
		_, all := l.log.Pending(p, 0)
		written += all
	}
	now := l.now()
	l.mu.Lock()
	if d := now.Sub(l.at).Seconds(); !l.at.IsZero() && d > 0 && (l.backlog > 0 || backlog > 0) {
		// What came in and is not there any more was taken off.
		taken := float64(l.backlog) + float64(written) - float64(l.written) - float64(backlog)
		l.rate = 0.96*l.rate + 0.04*max(0, taken)/d // of some seconds: commits are large and come one by one
	}
	brought := l.room.Written()
	l.packed.add(float64(brought-l.taken), float64(written)-float64(l.written))
	l.at, l.backlog, l.written, l.taken = now, backlog, written, brought
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
	allowed := l.pressure.Allowed()
	// A tenant's own bound comes before that of all of them.
	// A few of the largest requests at once are no overload, even before it is known how fast the workers are.
	size := max(l.packed.unpacked(allowed-allowed/5), min(requestMemory, l.packed.unpacked(2*allowed-allowed/5)))
	l.room.Bound(size)
	for p := range waiting {
		l.room.Processed(l.packed.unpacked(waiting[p]), func(t tenant.ID) bool { return tenant.Partition(t, len(waiting)) == p })
	}
	if messages == 0 && l.rebuild.Rebuilding() != nil && !l.rebuild.Broken() {
		l.said.Info("the store of events is complete again")
		l.rebuild.Rebuilt()
	}
}

// drainTime bounds how long a stop waits for the workers.
const drainTime = 5 * time.Second

// drain waits until the store has all that the log has, so that the next start has nothing to catch up with. What is left when it takes too
// long is in the log, and processed then for the first time.
func (l *load) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for l.rebuild.Rebuilding() == nil && l.stalled() == nil {
		var messages uint64
		for p := range l.marks {
			n, _ := l.log.Pending(p, l.marks[p].Load())
			messages += n
		}
		if messages == 0 {
			return
		}
		select {
		case <-ctx.Done():
			l.said.Warn("the store does not have all of the log yet: the next start goes on where it stands", "pulsestream.log.lag", messages)
			return
		case <-ticker.C:
		}
	}
}

// losses names what is gone from the log.
func (l *load) losses() []api.Loss {
	lost := l.log.Losses()
	out := make([]api.Loss, 0, len(lost))
	for _, x := range lost {
		out = append(out, api.Loss{Partition: x.Partition, From: x.FromSeq, To: x.ToSeq, Stored: x.Stored, Reason: x.Reason, SetAside: x.SetAside, At: x.At})
	}
	return out
}

// refuse says why events can't be taken, or nil.
func (l *load) refuse() error {
	if err := l.log.Healthy(); err != nil {
		return err
	}
	if err := l.pressure.Err(); err != nil {
		return err
	}
	if err := l.stalled(); errors.Is(err, errNoRoom) {
		return err // a quota, say, of which the file system's figures tell nothing
	}
	return nil
}

// rebuilding says how far a rebuild is.
func (l *load) rebuilding() *api.Rebuilding {
	r := l.rebuild.Rebuilding()
	if r == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &api.Rebuilding{Since: r.Since, Reason: r.Reason, SetAside: r.SetAside, Progress: l.progress}
}
