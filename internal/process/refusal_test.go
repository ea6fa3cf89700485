package process_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/store"
)

// refusing is a store that refuses some commits, as a real one may refuse what it cannot hold. Tries are the commits it refused, and the dry runs.
type refusing struct {
	process.Store
	refuse func(events []event.Stored, dry bool) error
	tries  atomic.Int64
}

func (f *refusing) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := f.refuse(c.Events, c.DryRun); err != nil {
		f.tries.Add(1)
		return store.Offset{}, err
	}
	if c.DryRun {
		f.tries.Add(1)
	}
	return f.Store.Commit(ctx, c)
}

func (r *rig) quarantined() []store.Quarantined {
	r.t.Helper()
	all, err := r.store.Quarantined(r.t.Context(), "t", store.QuarantineQuery{})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// bad refuses every commit with an event whose id is bad.
func bad(is func(id string) bool) func([]event.Stored, bool) error {
	return func(events []event.Stored, _ bool) error {
		for i := range events {
			if is(events[i].ID) {
				return fmt.Errorf("%w: injected for %s", store.ErrRefused, events[i].ID)
			}
		}
		return nil
	}
}

// apart checks that of the events 1 to n exactly the bad ones are in quarantine, with reason, payload and place, and the rest is stored and counted once.
func (r *rig) apart(n int, is func(id string) bool) {
	r.t.Helper()
	ids, held := r.stored(), map[string]bool{}
	for _, q := range r.quarantined() {
		if q.Stage != "commit" || q.Event == nil || q.Position.Seq == 0 || !strings.Contains(q.Reason, "injected for "+q.Event.ID) || len(q.Event.Data) == 0 {
			r.t.Errorf("in quarantine: %+v", q)
			continue
		}
		if held[q.Event.ID] {
			r.t.Errorf("%s is twice in quarantine", q.Event.ID)
		}
		held[q.Event.ID] = true
	}
	count := uint64(0)
	for i := 1; i <= n; i++ {
		id := strconv.Itoa(i)
		want := 1
		if is(id) {
			want = 0
		} else {
			count++
		}
		if ids[id] != want || held[id] != is(id) {
			r.t.Errorf("event %s is stored %d times, in quarantine: %v", id, ids[id], held[id])
		}
	}
	for _, res := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		if got, _ := r.rollups(metric.EventsID, res); got != count {
			r.t.Errorf("rollups of %s count %d, want %d", res, got, count)
		}
	}
}

func TestOnlyTheEventsThatTheStoreRefusesAreQuarantined(t *testing.T) {
	for name, c := range map[string]struct {
		messages, size int
		bad            func(id string) bool
		tries          int64
	}{
		"one in the middle of a large message":    {1, 1000, func(id string) bool { return id == "512" }, 30},
		"the first of a message":                  {3, 10, func(id string) bool { return id == "11" }, 20},
		"two beside each other":                   {2, 100, func(id string) bool { return id == "100" || id == "101" }, 40},
		"all of one message":                      {3, 4, func(id string) bool { return id >= "5" && id <= "8" && len(id) == 1 }, 30},
		"a message of its own":                    {5, 1, func(id string) bool { return id == "3" }, 20},
		"one in every other one of many messages": {24, 5, func(id string) bool { return len(id) > 1 && id[len(id)-1] == '5' }, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := &refusing{Store: r.store, refuse: bad(c.bad)}
			last := uint64(0)
			for i := range c.messages {
				last = r.send(i*c.size+1, (i+1)*c.size)
			}
			w, _ := r.start(func(cfg *process.Config) { cfg.Store = f })
			r.until("committed", func() bool { return r.offset() == last })
			r.apart(c.messages*c.size, c.bad)
			if n := f.tries.Load(); n > c.tries {
				t.Errorf("%d tries, at most %d are allowed", n, c.tries)
			}
			last = r.send(c.messages*c.size+1, c.messages*c.size+1) // and what comes later goes on as ever
			r.until("committed", func() bool { return r.offset() == last })
			if err := w.Stalled(); err != nil {
				t.Errorf("stalled: %v", err)
			}
		})
	}
}

func TestWhatIsRefusedOnlyTogetherIsQuarantinedWithItsMessageAlone(t *testing.T) {
	r := newRig(t)
	both := func(events []event.Stored, _ bool) error {
		n := 0
		for i := range events {
			if id := events[i].ID; id == "12" || id == "19" {
				n++
			}
		}
		if n == 2 {
			return fmt.Errorf("%w: injected for both", store.ErrRefused)
		}
		return nil
	}
	f := &refusing{Store: r.store, refuse: both}
	last := uint64(0)
	for i := range 5 {
		last = r.send(i*10+1, i*10+10)
	}
	r.start(func(c *process.Config) { c.Store = f })
	r.until("committed", func() bool { return r.offset() == last })
	if q, ids := r.quarantined(), r.stored(); len(q) != 10 || len(ids) != 40 || ids["12"] != 0 || ids["11"] != 0 || ids["21"] != 1 {
		t.Errorf("%d are in quarantine, %d stored; want the message with 11 to 20 in quarantine", len(q), len(ids))
	}
}

func TestAStoreThatRefusesEverythingEmptiesNothingIntoQuarantine(t *testing.T) {
	for name, sick := range map[string]func(n int64, events []event.Stored, dry bool) error{
		"whatever it is given": func(int64, []event.Stored, bool) error { return store.ErrRefused },
		"whatever is really committed": func(_ int64, _ []event.Stored, dry bool) error {
			if dry {
				return nil
			}
			return store.ErrRefused
		},
		"now and then": func(n int64, _ []event.Stored, _ bool) error {
			if n%3 == 0 {
				return nil
			}
			return store.ErrRefused
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var well atomic.Bool
			var calls atomic.Int64
			f := &refusing{Store: r.store, refuse: func(events []event.Stored, dry bool) error {
				if well.Load() {
					return nil
				}
				return sick(calls.Add(1), events, dry)
			}}
			last := uint64(0)
			for i := range 8 {
				last = r.send(i*10+1, i*10+10)
			}
			w, _ := r.start(func(c *process.Config) { c.Store = f })
			if name != "now and then" {
				r.until("the worker says that it is stalled", func() bool { return errors.Is(w.Stalled(), store.ErrRefused) })
				r.until("it has tried again", func() bool { return calls.Load() > 6 })
				if q := r.quarantined(); len(q) > 0 || r.offset() != 0 {
					t.Fatalf("%d events are in quarantine", len(q))
				}
			}
			well.Store(true)
			r.until("committed", func() bool { return r.offset() == last })
			if name != "now and then" {
				r.exactlyOnce(80)
			}
			r.until("the worker is not stalled any more", func() bool { return w.Stalled() == nil })
		})
	}
}

func TestACommitWaitsForRoomOnTheDiskWithoutStartingAnew(t *testing.T) {
	r := newRig(t)
	var full atomic.Bool
	var tries atomic.Int64
	f := &refusing{Store: r.store, refuse: func([]event.Stored, bool) error {
		if full.Load() {
			tries.Add(1)
			return fmt.Errorf("%w: injected", store.ErrFull)
		}
		return nil
	}}
	w, stop := r.start(func(c *process.Config) { c.Store = f })
	last := r.send(1, 10)
	r.until("committed", func() bool { return r.offset() == last })
	full.Store(true)
	for i := 1; i < 8; i++ {
		last = r.send(i*10+1, i*10+10)
	}
	r.until("the worker says why it waits", func() bool { return errors.Is(w.Stalled(), store.ErrFull) })
	r.until("it has tried again", func() bool { return tries.Load() > 2 })
	if ids := r.stored(); len(ids) != 10 {
		t.Errorf("%d events are stored, want the 10 from before", len(ids))
	}
	full.Store(false)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(80)
	r.until("the worker is not stalled any more", func() bool { return w.Stalled() == nil })
	r.seen.mu.Lock()
	if n := r.seen.failures["session"]; n > 0 {
		t.Errorf("the worker began anew %d times", n)
	}
	r.seen.mu.Unlock()
	full.Store(true)
	last = r.send(81, 90)
	r.until("it waits again", func() bool { return w.Stalled() != nil })
	stopped := time.Now()
	stop()
	if d := time.Since(stopped); d > 5*time.Second {
		t.Errorf("a worker that waits for room took %s to stop", d)
	}
	full.Store(false)
	r.start(func(c *process.Config) { c.Store = f })
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(90)
}

func TestAStoreThatBeginsToRefuseEverythingMidwayCondemnsNothing(t *testing.T) {
	r := newRig(t)
	var well, sick atomic.Bool
	one := bad(func(id string) bool { return id == "42" })
	f := &refusing{Store: r.store, refuse: func(events []event.Stored, dry bool) error {
		if well.Load() {
			return nil
		}
		if dry && len(events) < 50 && events[0].ID != "trial" {
			sick.Store(true)
		}
		if sick.Load() {
			return store.ErrRefused
		}
		return one(events, dry)
	}}
	last := r.send(1, 100)
	w, _ := r.start(func(c *process.Config) { c.Store = f })
	r.until("the worker says that it is stalled", func() bool { return errors.Is(w.Stalled(), store.ErrRefused) })
	well.Store(true)
	r.until("committed", func() bool { return r.offset() == last })
	r.exactlyOnce(100)
	if q := r.quarantined(); len(q) > 0 {
		t.Errorf("%d events are in quarantine", len(q))
	}
}

func TestWhatWasFoundIsKeptWhenTheStoreIsAwayForAMoment(t *testing.T) {
	r := newRig(t)
	is := func(id string) bool { return id == "10" || id == "90" }
	var dry atomic.Int64
	refuse := bad(is)
	f := &refusing{Store: r.store, refuse: func(events []event.Stored, trial bool) error {
		if trial && len(events) > 0 && events[0].ID == "51" && dry.Add(1) == 1 {
			return store.ErrUnavailable
		}
		return refuse(events, trial)
	}}
	last := r.send(1, 100)
	r.start(func(c *process.Config) { c.Store = f })
	r.until("committed", func() bool { return r.offset() == last })
	r.apart(100, is)
	if dry.Load() == 0 {
		t.Error("the store was never away")
	}
}

// A commit that waits makes the worker read on, and what it puts into quarantine meanwhile must not pile up without end.
func TestAWorkerThatWaitsDoesNotReadOnForTheQuarantineWithoutEnd(t *testing.T) {
	r := newRig(t)
	var full atomic.Bool
	var waits, most atomic.Int64
	f := &counting{Store: r.store, before: func(c *store.Commit) error {
		if full.Load() {
			waits.Add(1)
			return store.ErrFull
		}
		most.Store(max(most.Load(), int64(len(c.Quarantine))))
		return nil
	}}
	full.Store(true)
	r.start(func(c *process.Config) { c.Store = f })
	r.send(1, 1)
	r.until("a commit waits", func() bool { return waits.Load() > 0 })
	last := uint64(0)
	for range 2500 {
		seq, err := r.bus.Append(t.Context(), 0, []byte("not a batch"))
		if err != nil {
			t.Fatal(err)
		}
		last = seq
	}
	r.until("it has tried again", func() bool { return waits.Load() > 1 })
	full.Store(false)
	r.until("committed", func() bool { return r.offset() == last })
	if n := most.Load(); n > 1000 {
		t.Errorf("a commit put %d entries into quarantine", n)
	}
}

// counting is a store that is looked at before each commit.
type counting struct {
	process.Store
	before func(*store.Commit) error
}

func (f *counting) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := f.before(c); err != nil {
		return store.Offset{}, err
	}
	return f.Store.Commit(ctx, c)
}

func TestAnEventThatComesAgainBehindOneThatIsHeldIsNoRepetitionOfIt(t *testing.T) {
	r := newRig(t)
	f := &refusing{Store: r.store, refuse: func(events []event.Stored, _ bool) error {
		for i := range events {
			if string(events[i].Data) == `{"bad":true}` {
				return fmt.Errorf("%w: injected for %s", store.ErrRefused, events[i].ID)
			}
		}
		return nil
	}}
	now := time.Now().UTC()
	b := event.BeginBatch(nil)
	for _, e := range []struct{ id, data string }{{"0", `{}`}, {"1", `{"bad":true}`}, {"0", `{}`}, {"1", `{"bad":false}`}, {"2", `{}`}, {"1", `{"bad":false}`}} {
		b = event.AppendEvent(b, "t", &event.Event{ID: e.id, Source: "s", Type: "a", Time: now, Received: now, Identified: true, Data: []byte(e.data)})
	}
	last := r.append(b)
	_, _ = r.start(func(cfg *process.Config) { cfg.Store = f })
	r.until("committed", func() bool { return r.offset() == last })
	if ids := r.stored(); len(ids) != 3 || ids["0"] != 1 || ids["1"] != 1 || ids["2"] != 1 {
		t.Errorf("stored are %v, want each of three once", ids)
	}
	if count, _ := r.rollups(metric.EventsID, time.Minute); count != 3 {
		t.Errorf("%d are counted, want 3", count)
	}
}
