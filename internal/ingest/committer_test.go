package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// memoryLog is a log whose appends wait until they are let through.
type memoryLog struct {
	gate    chan error    // an append takes one; its error is the append's
	entered chan struct{} // has something once an append has begun
	mu      sync.Mutex
	all     [][]byte
}

func (l *memoryLog) Partitions() int { return 1 }

func (l *memoryLog) Append(ctx context.Context, _ int, payload []byte) (uint64, error) {
	select {
	case l.entered <- struct{}{}:
	default:
	}
	select {
	case err := <-l.gate:
		if err != nil {
			return 0, err
		}
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, append([]byte(nil), payload...))
	return uint64(len(l.all)), nil
}

func (l *memoryLog) events(t *testing.T) (perMessage []int, ids map[string]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	ids = map[string]int{}
	var d event.Decoder
	for _, b := range l.all {
		n := 0
		if err := d.Decode(b, func(ev event.Stored) error { n++; ids[ev.ID]++; return nil }); err != nil {
			t.Fatal(err)
		}
		perMessage = append(perMessage, n)
	}
	return perMessage, ids
}

func newCommitter(limit int) (*memoryLog, *ingest.Committer) {
	l := &memoryLog{gate: make(chan error), entered: make(chan struct{}, 1)}
	return l, ingest.NewCommitter(l, limit, time.Now)
}

func errorOf(_ int64, err error) error { return err }

func some(from, n, size int) []event.Event {
	out := make([]event.Event, n)
	for i := range out {
		out[i] = event.Event{ID: fmt.Sprint(from + i), Source: "s", Type: "t", Time: time.Now(), Data: make([]byte, size)}
	}
	return out
}

func TestRequestsThatArriveDuringAnAppendShareTheNextMessage(t *testing.T) {
	l, c := newCommitter(1 << 20)
	results := make(chan error, 100)
	commit := func(from int) { results <- errorOf(c.Commit(t.Context(), "t", some(from, 2, 10))) }
	go commit(0)
	<-l.entered // the first is on its way alone
	var group sync.WaitGroup
	for i := 1; i <= 50; i++ {
		group.Go(func() { commit(i * 100) })
	}
	for c.Waiting() < 50 {
		runtime.Gosched()
	}
	for range 2 {
		l.gate <- nil
	}
	group.Wait()
	for range 51 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	messages, ids := l.events(t)
	if len(ids) != 102 || len(messages) != 2 {
		t.Errorf("%d events in %d messages, want 102 in 2", len(ids), len(messages))
	}
	c.Stop()
}

func TestSendersThatWereAnsweredTogetherAreWaitedForTogether(t *testing.T) {
	l, c := newCommitter(1 << 20)
	c.Lull(time.Hour)
	defer c.Stop()
	defer close(l.gate)
	answered := make(chan error, 10)
	send := func(id int) { answered <- errorOf(c.Commit(t.Context(), "t", some(id, 1, 10))) }
	go send(0)
	<-l.entered
	go send(1)
	go send(2)
	for c.Waiting() < 2 {
		runtime.Gosched()
	}
	l.gate <- nil // of three that are on their way one has its answer, and sends the next
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	go send(3)
	<-l.entered
	l.gate <- nil
	for range 3 {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
	go send(4)
	go send(5)
	for c.Waiting() < 2 {
		runtime.Gosched()
	}
	select {
	case <-l.entered:
		t.Error("two went without the third")
	default:
	}
	go send(6)
	<-l.entered
	l.gate <- nil
	for range 3 {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
	if messages, _ := l.events(t); !slices.Equal(messages, []int{1, 3, 3}) {
		t.Errorf("messages of %v events, want 1, 3 and 3", messages)
	}
}

func TestWhoIsWaitedForInVainDelaysTheOthersALittleOnly(t *testing.T) {
	const us = time.Microsecond
	every := func(d time.Duration, n int) (out []time.Duration) {
		for i := range n {
			out = append(out, time.Duration(i)*d)
		}
		return out
	}
	for _, c := range []struct {
		name     string
		expected int // so many were answered together
		come     []time.Duration
		first    time.Duration // when the first has its answer
	}{
		{"all come", 4, []time.Duration{0, 100 * us, 200 * us, 290 * us}, 290 * us},
		{"one comes and nobody after it", 4, []time.Duration{10 * us}, 600 * us},
		{"one comes late and nobody after it", 4, []time.Duration{610 * us}, 1200 * us},
		{"one after another until nobody comes", 4, []time.Duration{0, 250 * us, 500 * us}, 900 * us},
		{"one after another for a long time", 40, every(250*us, 40), 3900 * us},
		{"one when the others have been given up", 4, []time.Duration{5000 * us}, 5000 * us},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, committer := newCommitter(1 << 20)
				defer committer.Stop()
				answered := make(chan error, 100)
				send := func(id int) { answered <- errorOf(committer.Commit(t.Context(), "t", some(id, 1, 10))) }
				answer := func(n int) {
					for range n {
						if err := <-answered; err != nil {
							t.Fatal(err)
						}
					}
				}
				go send(0)
				synctest.Wait()
				for i := range c.expected {
					go send(1 + i)
				}
				synctest.Wait()
				close(l.gate)
				answer(1 + c.expected)
				start := time.Now()
				for i, d := range c.come {
					go func() {
						<-time.After(d) // of the bubble's clock
						send(100 + i)
					}()
				}
				answer(1)
				if took := time.Since(start); took != c.first {
					t.Errorf("the first had its answer after %v, want %v", took, c.first)
				}
				answer(len(c.come) - 1)
			})
		})
	}
}

func TestALargeRequestDoesNotWaitForOthers(t *testing.T) {
	l, c := newCommitter(1 << 20)
	c.Lull(time.Hour)
	defer c.Stop()
	answered := make(chan error, 10)
	go func() { answered <- errorOf(c.Commit(t.Context(), "t", some(0, 1, 10))) }()
	<-l.entered
	for i := range 5 {
		go func() { answered <- errorOf(c.Commit(t.Context(), "t", some(1+i, 1, 10))) }()
	}
	for c.Waiting() < 5 {
		runtime.Gosched()
	}
	l.gate <- nil
	go func() { answered <- errorOf(c.Commit(t.Context(), "t", some(10, 10, 10_000))) }()
	close(l.gate)
	for range 7 {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

func TestALargeRequestIsSplitAndAnsweredWhenAllOfItIsThere(t *testing.T) {
	l, c := newCommitter(10_000)
	done := make(chan error, 1)
	go func() { done <- errorOf(c.Commit(t.Context(), "t", some(0, 30, 1000))) }()
	for range 3 {
		l.gate <- nil
		select {
		case err := <-done:
			t.Fatal("answered too early", err)
		default:
		}
	}
	close(l.gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	messages, ids := l.events(t)
	if len(ids) != 30 || len(messages) < 4 {
		t.Errorf("%d events in messages of %v", len(ids), messages)
	}
}

func TestAFailedAppendFailsItsRequestsOnly(t *testing.T) {
	l, c := newCommitter(1 << 20)
	broken := errors.New("disk")
	done := make(chan error, 1)
	go func() { done <- errorOf(c.Commit(t.Context(), "t", some(0, 1, 1))) }()
	l.gate <- broken
	if err := <-done; !errors.Is(err, broken) {
		t.Fatal(err)
	}
	go func() { done <- errorOf(c.Commit(t.Context(), "t", some(1, 1, 1))) }()
	l.gate <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, ids := l.events(t); ids["0"] != 0 || ids["1"] != 1 {
		t.Errorf("%v", ids)
	}
}

func TestAStoppedCommitterWritesWhatWaitsAndRefusesWhatComes(t *testing.T) {
	l, c := newCommitter(1 << 20)
	done := make(chan error, 1)
	go func() { done <- errorOf(c.Commit(t.Context(), "t", some(0, 1, 1))) }()
	l.gate <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.Stop()
	if _, err := c.Commit(t.Context(), "t", some(1, 1, 1)); !errors.Is(err, ingest.ErrStopped) {
		t.Errorf("got %v", err)
	}
}

func TestAnOverloadedLogRefusesBeforeMemoryRunsOut(t *testing.T) {
	l, c := newCommitter(1 << 20)
	defer c.Stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer close(l.gate) // the log takes all after all
	overloaded := make(chan struct{})
	var once sync.Once
	for range 200 {
		group.Go(func() {
			if _, err := c.Commit(t.Context(), tenant.Default, some(0, 100, 10_000)); errors.Is(err, ingest.ErrOverloaded) {
				once.Do(func() { close(overloaded) })
			}
		})
	}
	select {
	case <-overloaded:
	case <-time.After(time.Minute):
		t.Error("200 MB wait for a log that takes nothing, and nobody was refused")
	}
}

func TestARequestWaitsForOneOfEachOtherTenantNotForAllThatTheyHave(t *testing.T) {
	l, c := newCommitter(2_000) // a message takes one request
	defer func() { close(l.gate); c.Stop() }()
	done := make(chan string, 100)
	commit := func(id tenant.ID, from int) {
		if err := errorOf(c.Commit(t.Context(), id, some(from, 1, 1_000))); err != nil {
			t.Error(err)
		}
		done <- string(id)
	}
	go commit("flood", 0)
	<-l.entered // it is being written
	for i := range 20 {
		go commit("flood", i+1)
	}
	for c.Waiting() < 20 {
		runtime.Gosched()
	}
	go commit("calm", 1000)
	for c.Waiting() < 21 {
		runtime.Gosched()
	}
	for i := range 5 {
		l.gate <- nil
		if id := <-done; id == "calm" {
			if i > 2 {
				t.Errorf("it was written as number %d", i+1)
			}
			return
		}
	}
	t.Error("five messages of the other tenant went first")
}

func TestASenderThatHangsUpIsToldWhatBecameOfItsEventsAllTheSame(t *testing.T) {
	l, c := newCommitter(1 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		written int64
		err     error
	}
	done := make(chan result, 1)
	go func() {
		n, err := c.Commit(ctx, tenant.Default, some(0, 10, 100))
		done <- result{n, err}
	}()
	l.gate <- nil // it is being written
	cancel()
	if r := <-done; r.err != nil || r.written < 1000 {
		t.Errorf("%d bytes, %v: what is in the log has to count for its tenant", r.written, r.err)
	}
	if n, err := c.Commit(ctx, tenant.Default, some(0, 10, 100)); err == nil || n > 0 {
		t.Errorf("a request whose sender has gone before anything was written: %d bytes, %v", n, err)
	}
}
