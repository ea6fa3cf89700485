package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// After a write or a sync that failed JetStream takes no more messages, and does not even refuse them, until it is started anew. So the bus ends it as soon as it
// says so, waits until the disk takes writes again, looks at the files, and starts it again. Meanwhile appends fail at once and readers end.

// fault is a reason to start JetStream anew.
type fault struct {
	life     *life // the one that has failed
	reason   string
	suspects map[string]bool // blocks that were found damaged
}

const (
	watchEvery = time.Second
	// retryFirst and retryMost bound the time between two looks at a disk that is not well.
	retryFirst = 250 * time.Millisecond
	retryMost  = 2 * time.Second
	// probeSize is what must fit on the disk before the log is opened again: more than one message.
	probeSize = 4 << 20
)

// report tells the watcher of a fault. One that is reported while another is being dealt with is of no further interest.
func (b *Bus) report(f fault) {
	select {
	case b.faults <- f:
	default:
	}
}

// watch deals with faults, and keeps the high-water marks synced, until ctx ends.
func (b *Bus) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-b.faults:
			b.heal(ctx, f)
		case <-ticker.C:
			b.syncMarks()
			silent = b.listen(silent)
		}
	}
}

func (b *Bus) syncMarks() {
	for _, part := range b.parts {
		part.mu.Lock()
		m := part.mark
		part.mu.Unlock()
		if m == nil {
			continue
		}
		if err := m.sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			b.cfg.Log.Warn("the high-water mark could not be synced", "pulsestream.partition", part.index, "error.message", err.Error())
		}
	}
}

// silentLimit is how many times in a row the disk has to be found well, while JetStream does not answer, to take JetStream for failed.
const silentLimit = 3

// listen looks for a JetStream that has ended, or does not answer though the disk does. It returns how many times in a row the latter was so.
func (b *Bus) listen(silent int) int {
	l, err := b.current()
	if err != nil {
		return 0
	}
	if err := l.healthy(); err != nil {
		b.report(fault{life: l, reason: err.Error()})
		return 0
	}
	for _, part := range b.parts {
		if err := part.stuck(); err == nil {
			continue
		}
		if b.probe() != nil { // as long as the disk hangs, so does this; then appends fail by their own bound
			return 0
		}
		if silent++; silent >= silentLimit {
			b.report(fault{life: l, reason: "the embedded server does not answer, though the disk does"})
			return 0
		}
		return silent
	}
	return 0
}

// heal ends a life and begins another as soon as the disk is well.
func (b *Bus) heal(ctx context.Context, f fault) {
	b.mu.Lock()
	if b.life == nil || b.life != f.life || b.closed {
		b.mu.Unlock()
		return
	}
	b.life = nil
	b.down = fmt.Errorf("%w: %s", ErrUnavailable, f.reason)
	b.mu.Unlock()
	b.cfg.Log.Error("the log has failed; it is started again as soon as the disk is well", "error.message", f.reason)
	b.end(f.life, false)
	b.revive(ctx, f)
}

// isFull says that an error comes from a full disk.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// revive begins another life as soon as the disk is well.
func (b *Bus) revive(ctx context.Context, f fault) {
	began := time.Now()
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := b.probe()
		if err == nil {
			err = b.bring(ctx, f)
		}
		if err == nil {
			b.cfg.Log.Info("the log takes messages again", "event.duration", time.Since(began))
			return
		}
		if ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		b.down = fmt.Errorf("%w: %w", ErrUnavailable, err)
		b.mu.Unlock()
		b.cfg.Log.Warn("the log cannot be started again yet", "error.message", err.Error(), "pulsestream.retry_in", wait.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// probe finds out whether the disk takes writes.
func (b *Bus) probe() error {
	path := filepath.Join(b.guard(), "probe")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}
