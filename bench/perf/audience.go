//go:build linux

package perf

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// audience is clients that watch two metrics, half of them each, and when each of them had which update.
type audience struct {
	reader *reader
	rest   [][]byte // what each client has of a frame that is not complete

	mu     sync.Mutex
	seen   map[int][]time.Time // by update and client; the zero time is never
	frames int                 // with points
	lagged int                 // frames that say that a client was too slow
}

// update is a change of both metrics.
type update struct {
	number          int
	sent, queryable time.Time
}

func watchedMetrics() [2]string { return [2]string{"live-a", "live-b"} }

// gather connects n clients; all have their snapshots when it returns.
func gather(ctx context.Context, address, key string, n int) (*audience, error) {
	a := &audience{rest: make([][]byte, n), seen: map[int][]time.Time{}}
	fds, errs := make([]int, n), make([]error, n)
	turns := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			fds[i], a.rest[i], errs[i] = join(ctx, address, key, watchedMetrics()[i%2])
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil {
			continue
		}
		for j := range fds {
			if errs[j] == nil {
				_ = syscall.Close(fds[j])
			}
		}
		return nil, fmt.Errorf("connect client %d: %w", i, err)
	}
	var err error
	a.reader, err = newReader(fds, a.take)
	return a, err
}

// expect makes room for an update; nobody sees one that is not expected.
func (a *audience) expect(number int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[number] = make([]time.Time, len(a.rest))
}

// take is what a client was sent at a time.
func (a *audience) take(conn int, b []byte, at time.Time) error {
	if rest := a.rest[conn]; len(rest) > 0 {
		b = append(rest, b...)
	}
	for {
		opcode, payload, rest, ok := cutFrame(b)
		if !ok {
			break
		}
		b = rest
		if err := a.frame(conn, opcode, payload, at); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		a.rest[conn] = bytes.Clone(b)
	} else {
		a.rest[conn] = nil
	}
	return nil
}

func (a *audience) frame(conn int, opcode byte, payload []byte, at time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case opcode == opPing:
		_, err := syscall.Write(a.reader.fds[conn], masked(opPong, payload))
		return err
	case opcode != opText:
		return fmt.Errorf("client %d is sent a frame %x: %q", conn, opcode, payload)
	case bytes.HasPrefix(payload, []byte(`{"id":"a","op":"points",`)):
		a.frames++
		values(payload, func(update int) {
			if seen := a.seen[update]; seen != nil && seen[conn].IsZero() {
				seen[conn] = at
			}
		})
	case bytes.HasPrefix(payload, []byte(`{"id":"a","op":"lagged",`)):
		a.lagged++
	default:
		return fmt.Errorf("client %d is told %s", conn, payload)
	}
	return nil
}

// counts are the frames with points so far, and those that say that a client lags.
func (a *audience) counts() (frames, lagged int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames, a.lagged
}

func (a *audience) clients() int { return len(a.rest) }

// cpu is what reading has cost so far.
func (a *audience) cpu() time.Duration { return time.Duration(a.reader.cpu.Load()) }

// delays are how much later than an update could be queried, and than it was sent, each client had it.
func (a *audience) delays(updates []update) (fromQueryable, fromSent []time.Duration, missing int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range updates {
		for _, at := range a.seen[u.number] {
			if at.IsZero() {
				missing++
				continue
			}
			fromQueryable = append(fromQueryable, max(0, at.Sub(u.queryable)))
			fromSent = append(fromSent, at.Sub(u.sent))
		}
	}
	return fromQueryable, fromSent, missing
}

// leave ends all connections. A client that lost its own before is an error.
func (a *audience) leave() error { return a.reader.close() }
