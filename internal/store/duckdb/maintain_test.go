package duckdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestACheckpointIsMadeWhenTheLogIsBigOrNothingElseHappens(t *testing.T) {
	for _, c := range []struct {
		size int64
		idle time.Duration
		want bool
	}{{99, 0, false}, {100, 0, true}, {24, time.Hour, false}, {25, time.Second, true}, {25, time.Second - 1, false}} {
		if got := checkpointDue(c.size, 100, c.idle); got != c.want {
			t.Errorf("a log of %d after %v: due is %v", c.size, c.idle, got)
		}
	}
}

func TestUpkeepThatFailsRestsLongerEachTimeAndForWantOfRoomIsToldOnce(t *testing.T) {
	broken, full := errors.New("a block is damaged"), fmt.Errorf("no room: %w", store.ErrFull)
	k := task{most: mergeRest}
	for i, c := range []struct {
		err  error
		say  bool
		rest int
	}{
		{nil, false, 0},
		{broken, true, 0}, {broken, true, 1}, {broken, true, 3}, {broken, true, 7}, {broken, true, 15}, {broken, true, 31}, {broken, true, 63}, {broken, true, 127},
		{broken, true, 255}, {broken, true, 299}, {broken, true, 299},
		{nil, true, 0}, {nil, false, 0},
		{full, true, 0}, {full, false, 1}, {full, false, 3}, {full, false, 7}, {full, false, 9}, {broken, true, 31}, {full, true, 9}, {nil, true, 0}, {broken, true, 0},
	} {
		k.rest = 0 // it is done again when it has rested
		if say := k.after(c.err); say != c.say || k.rest != c.rest {
			t.Errorf("%d: of %v something is said: %t, and it rests %d times; want %t, %d", i, c.err, say, k.rest, c.say, c.rest)
		}
	}
}

func TestATaskOfTheUpkeepThatFailsKeepsNoOtherFromBeingDone(t *testing.T) {
	var log bytes.Buffer
	s := &Store{log: slog.New(slog.NewTextHandler(&log, nil))}
	done := 0
	tasks := []*task{
		{what: "panicking", most: mergeRest, do: func(context.Context) error { panic("no such block") }},
		{what: "failing", most: mergeRest, do: func(context.Context) error { return errors.New("mine") }},
		{what: "the rest", do: func(context.Context) error { done++; return nil }},
	}
	for range 8 {
		s.keepUp(t.Context(), tasks)
	}
	if got := log.String(); done != 8 || strings.Count(got, "what=panicking") != 4 || strings.Count(got, "what=failing") != 4 || !strings.Contains(got, "no such block") {
		t.Errorf("the rest was done %d times of 8:\n%s", done, got)
	}
}

func TestMemTotalIsRead(t *testing.T) {
	if got := memTotal([]byte("MemFree: 1 kB\nMemTotal:       24607744 kB\n")); got != 24607744<<10 {
		t.Errorf("MemTotal is %d", got)
	}
	for _, text := range []string{"", "MemTotal: many kB"} {
		if got := memTotal([]byte(text)); got != 0 {
			t.Errorf("MemTotal of %q is %d", text, got)
		}
	}
}

// Rollups of the same minutes from many flushes become few files, and fewer rows.
func TestTheStoreMergesRollupsByItself(t *testing.T) {
	cfg := quiet(filepath.Join(t.TempDir(), "events.duckdb"))
	cfg.CompactEvery = time.Millisecond
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &filler{t: t, s: s}
	start := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	var o series.Agg
	o.Add(series.Observation{At: start, Value: 1, Numeric: true})
	for range mergeRun {
		c := &store.Commit{From: f.at, To: store.Offset{Incarnation: "one", Seq: f.at.Seq + 1}, Rollups: []series.Rollup{{Tenant: tenant.Default, Metric: 1, Step: time.Minute, Start: start, Agg: o}}}
		f.at, err = s.Commit(t.Context(), c)
		f.must(err)
		f.must(f.flush())
	}
	entries := func() []fileEntry {
		s.mem.mu.Lock()
		defer s.mem.mu.Unlock()
		return s.mem.rollups.entries
	}
	deadline := time.After(20 * time.Second)
	for e := entries(); len(e) != 1 || e[0].rows != 1; e = entries() {
		select {
		case <-deadline:
			t.Fatalf("there still are %+v", e)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Merging rollups comes to an end, leaves few files, and does not write everything again and again, whether flushes are of the same minutes or of others.
func TestMergingLeavesFewFilesOfRollups(t *testing.T) {
	for _, c := range []struct {
		rows  int64 // of a flush
		again float64
		same  int64 // flushes with the same minutes
	}{{100, 5, 1}, {16_000, 4, 1}, {16_000, 4, 30}, {160_000, 2.5, 1}} {
		const flushes = 2000
		var entries []fileEntry
		var written atomic.Int64
		for n := range int64(flushes) {
			entries = append(entries, fileEntry{rows: c.rows, bytes: c.rows * 6, minTime: n / c.same, maxTime: n / c.same})
			for from, to := rollupTiers().pick(entries); from < to; from, to = rollupTiers().pick(entries) {
				one := fileEntry{minTime: entries[from].minTime, maxTime: entries[to-1].maxTime}
				read := int64(0)
				for _, e := range entries[from:to] {
					read += e.rows
				}
				one.rows = min(read, c.rows*(one.maxTime-one.minTime+1))
				one.bytes = one.rows * 6
				written.Add(read)
				entries = append(append(append([]fileEntry(nil), entries[:from]...), one), entries[to:]...)
				if written.Load() > 1000*flushes*c.rows {
					t.Fatalf("%+v: merging does not end", c)
				}
			}
		}
		if most := int(flushes*c.rows/c.same>>20) + 4*mergeRun; len(entries) > most {
			t.Errorf("%+v: %d files are left, want at most %d", c, len(entries), most)
		}
		if again := float64(written.Load()) / float64(flushes*c.rows); again > c.again {
			t.Errorf("%+v: each row was read %.1f times more", c, again)
		}
	}
}

func TestAFlushIsDueWithFewerEventsWhereThereIsLittleMemory(t *testing.T) {
	for _, c := range []struct {
		machine, bytes int64
	}{{24 << 30, 320 << 20}, {10 << 30, 320 << 20}, {4 << 30, 128 << 20}, {1 << 30, 32 << 20}} {
		most := flushBytesOf(memoryLimitOf(c.machine))
		if int64(most) != c.bytes {
			t.Errorf("with %d MB it is due with %d MB, not %d", c.machine>>20, most>>20, c.bytes>>20)
		}
	}
	r, at := newRecent(1, 10_000, nil), time.Unix(1, 0)
	c := &store.Commit{Events: []event.Stored{{Tenant: "t", Event: event.Event{ID: "1", Type: "a", Data: make([]byte, 2000)}}}}
	for n := range 4 {
		if r.add(c, store.Offset{}, at); r.due(at) {
			t.Fatalf("it is due after %d events of 2 kB", n+1)
		}
	}
	if r.add(c, store.Offset{}, at); !r.due(at) {
		t.Error("it is not due with 10 kB")
	}
}

func TestWhatHasComeSinceAFlushBeganIsNotWrittenBeforeItsTime(t *testing.T) {
	frozen := newRecent(3, 0, nil)
	for _, c := range []struct {
		due    bool
		frozen *recent
		number int64
		flush  bool
	}{{false, nil, 4, false}, {true, nil, 4, true}, {false, frozen, 3, true}, {true, frozen, 4, true}} {
		if number, flush := upTo(4, c.due, c.frozen); flush != c.flush || flush && number != c.number {
			t.Errorf("%+v: up to %d, %v", c, number, flush)
		}
	}
}
