package duckdb

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// filler commits events and counts those that are stored.
type filler struct {
	t  *testing.T
	s  *Store
	at store.Offset
	n  int

	noise   bool // events don't compress
	urgent  bool // commits have transitions
	rollups int  // in each commit, of series that come again every hour
	states  int  // in each commit, which replace those of the one before
}

func (f *filler) commit(events int) error {
	f.t.Helper()
	c := &store.Commit{From: f.at, To: store.Offset{Incarnation: "one", Seq: f.at.Seq + 1}}
	now := time.Unix(1_800_000_000, 0).UTC().Add(time.Duration(f.at.Seq) * time.Minute)
	noise := make([]byte, 600)
	for i := range events {
		data := fmt.Appendf(nil, `"%01000d"`, i)
		if f.noise {
			_, _ = rand.Read(noise)
			data = fmt.Appendf(nil, "%q", base64.StdEncoding.EncodeToString(noise))
		}
		c.Events = append(c.Events, event.Stored{Tenant: "t", Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{
			ID: fmt.Sprint(c.To.Seq, i), Source: "s", Type: "a", Time: now, Received: now, Identified: true, Data: data,
		}})
	}
	for i := range f.rollups {
		r := series.Rollup{Tenant: "t", Metric: int64(i % 10), Labels: series.Labels{fmt.Sprint(i)}, Step: time.Minute, Start: now.Truncate(time.Minute)}
		for j := range 20 {
			r.Agg.Add(series.Observation{At: now, Value: float64(i * j), Numeric: true, Distinct: (c.To.Seq + uint64(i*j)) * 0x9e3779b97f4a7c15, HasDistinct: true})
		}
		c.Rollups = append(c.Rollups, r)
	}
	for i := range f.states {
		_, _ = rand.Read(noise)
		c.States = append(c.States, alert.State{Tenant: "t", RuleID: int64(i), Phase: alert.PhaseFiring, Incident: base64.StdEncoding.EncodeToString(noise)})
	}
	if f.urgent {
		c.Transitions = []alert.Transition{{ID: fmt.Sprint(c.To.Seq), Tenant: "t", Incident: fmt.Sprint(c.To.Seq), Kind: alert.PhaseFiring, StartedAt: now}}
	}
	at, err := f.s.Commit(f.t.Context(), c)
	if err == nil {
		f.at = at
		f.n += events
	}
	return err
}

// flush has all that was committed written to disk.
func (f *filler) flush() error { return f.s.flushNow(f.t.Context()) }

func (f *filler) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *filler) check() {
	f.t.Helper()
	n := 0
	if err := f.s.Scan(f.t.Context(), "t", store.Scan{WithoutData: true}, func(*event.Stored) error { n++; return nil }); err != nil || n != f.n {
		f.t.Fatalf("%d events are stored (%v), want %d", n, err, f.n)
	}
}

func TestFlushesAndCheckpointsWaitForRoomAndReadsDoNot(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	path := filepath.Join(t.TempDir(), "events.duckdb")
	open := func() *Store {
		s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1, CheckpointLog: 1, Disk: func() (uint64, uint64, error) { return free.Load(), 1 << 40, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f := &filler{t: t, s: open(), rollups: 100, states: 100}
	f.must(f.commit(3000))
	f.must(f.flush())
	log := sizeOf(path + ".wal")
	free.Store(reserveMost + log - 1)
	tasks := f.s.upkeep()
	checkpoint := tasks[len(tasks)-1]
	if f.s.keepUp(t.Context(), tasks); !checkpoint.full || sizeOf(path+".wal") < log {
		t.Error("a checkpoint was made though there may not be room for it")
	}
	free.Store(reserveMost + 4<<20)
	f.must(f.commit(1000))
	f.must(f.flush())
	onDisk := f.n
	free.Store(reserveMost - 1)
	f.must(f.commit(10)) // there is room in memory
	f.check()
	if err := f.flush(); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("a flush without room: %v", err)
	}
	f.urgent = true
	if err := f.commit(1); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("an urgent commit without room: %v", err)
	}
	f.check()
	f.must(f.s.Close())
	if sizeOf(path+".wal") < log {
		t.Error("there was a checkpoint without room")
	}
	f.s, f.n = open(), onDisk // what was in memory comes again from the log
	f.check()
	p, err := f.s.Partition(t.Context(), 0)
	f.must(err)
	f.at, f.urgent = p.Offset, false
	free.Store(1 << 40)
	f.must(f.commit(1))
	f.must(f.flush())
	if f.s.keepUp(t.Context(), f.s.upkeep()); sizeOf(path+".wal") > 0 {
		t.Error("no checkpoint with room again")
	}
	f.check()
	f.must(f.s.Close())
}

// What an urgent commit was told to have failed for is made up for by making it again.
func TestAnUrgentCommitThatFoundNoRoomIsMadeAgainAndCountsOnce(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	path := filepath.Join(t.TempDir(), "events.duckdb")
	cfg := quiet(path)
	cfg.Disk = func() (uint64, uint64, error) { return free.Load(), 1, nil }
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s}
	f.must(f.commit(3000)) // what is to be flushed with it is larger than the commit
	free.Store(1 << 20)
	f.urgent = true
	for range 3 {
		if err := f.commit(5); !errors.Is(err, store.ErrFull) {
			t.Fatalf("without room: %v", err)
		}
	}
	early := f.at
	free.Store(1 << 40)
	f.must(f.commit(5))
	f.check()
	f.at, f.n = early, f.n-5
	f.must(f.commit(5)) // the answer was lost: the same is true as before
	f.check()
	f.must(f.commit(5))
	f.check()
	f.at = early
	if err := f.commit(5); !errors.Is(err, store.ErrFenced) {
		t.Errorf("after the one behind it: %v", err)
	}
	f.must(s.Close())
}

func TestACheckpointIsKnownToRewriteAFewRowGroupsAtMost(t *testing.T) {
	for _, c := range []struct{ used, rows, last, want uint64 }{
		{0, 0, 0, 0}, {1 << 20, 0, 0, 1 << 20}, {100 << 20, rowGroup, rowGroup, 100 << 20}, {400 << 20, rewritten, rewritten, 400 << 20},
		{400 << 20, 2 * rewritten, rewritten, 400 << 20}, {1 << 40, rewritten << 10, rewritten, 2 << 30}, {1 << 40, rewritten << 10, 2 * rewritten, 4 << 30},
	} {
		if got := rewriting(c.used, c.rows, c.last); got != c.want {
			t.Errorf("of %d bytes in %d rows %d, want %d", c.used, c.rows, got, c.want)
		}
	}
}

// What a checkpoint adds to the file is asked for before, at every size that the file comes by.
func TestAtLeastAsMuchRoomIsAskedForAsACheckpointTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	var free atomic.Uint64
	s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1, Disk: func() (uint64, uint64, error) { return free.Load(), 80, nil }})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s, states: 1000}
	for range 8 {
		free.Store(1 << 40)
		for range 100 {
			f.must(f.commit(0))
			f.must(f.flush())
			if sizeOf(path+".wal") >= 4<<20 {
				break
			}
		}
		low, high := uint64(0), uint64(1<<40) // what is asked for is between these
		for high-low > 1<<18 {
			free.Store((low + high) / 2)
			if s.roomForCheckpoint(t.Context()) == nil {
				high = free.Load()
			} else {
				low = free.Load()
			}
		}
		before, log := sizeOf(path), sizeOf(path+".wal")
		f.must(s.checkpoint(t.Context()))
		t.Logf("with %d KiB in the file and %d KiB in the log %d KiB were asked for, and it grew by %d", before>>10, log>>10, high>>10, int64(sizeOf(path)-before)>>10)
		if grown := sizeOf(path) - min(before, sizeOf(path)); grown > high {
			t.Errorf("with %d KiB in the file %d KiB were asked for, and it grew by %d", before>>10, high>>10, grown>>10)
		}
	}
	free.Store(1 << 40)
	f.must(s.Close())
}

func TestAtLeastAsMuchRoomIsAskedForAsAFlushTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	size := func() uint64 {
		n := sizeOf(path + ".wal")
		for _, seg := range s.mem.segments.all {
			n += uint64(seg.Size())
		}
		for _, f := range s.mem.rollups.all {
			n += uint64(f.Size())
		}
		return n
	}
	at := store.Offset{}
	for _, c := range []struct{ events, data, rollups, distinct, quarantined int }{
		{0, 0, 0, 0, 0}, {1, 0, 3, 0, 0}, {1000, 0, 0, 0, 0}, {1000, 300, 100, 10, 0}, {20, 200 << 10, 10, 0, 0}, {20_000, 200, 1000, 100, 0}, {0, 0, 0, 0, 3000},
	} {
		before := size()
		m := &store.Commit{From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}}
		now := time.Now()
		for i := range c.events {
			data := make([]byte, c.data/2)
			_, _ = rand.Read(data)
			m.Events = append(m.Events, event.Stored{Tenant: "t", Position: event.Position{Seq: m.To.Seq, Index: uint32(i)}, Event: event.Event{
				ID: fmt.Sprint(m.To.Seq, i), Source: "s", Type: "a", Time: now, Received: now, Identified: true, Data: fmt.Appendf(nil, `"%x"`, data)}})
		}
		for i := range c.rollups {
			r := series.Rollup{Tenant: "t", Metric: int64(i), Labels: series.Labels{"a", "b"}, Step: time.Minute, Start: now.Truncate(time.Minute)}
			for j := range c.distinct {
				r.Agg.Add(series.Observation{At: now, Value: float64(j), Numeric: true, Distinct: uint64(i*j) * 0x9e3779b97f4a7c15, HasDistinct: true})
			}
			m.Rollups = append(m.Rollups, r)
		}
		r := newRecent(1, flushBytes, nil)
		for i := range c.quarantined {
			m.Quarantine = append(m.Quarantine, store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: "t", ID: fmt.Sprint(i)}, Stage: "decode", Reason: "no event", Raw: make([]byte, 1000), At: now})
		}
		r.add(m, m.To, now)
		asked := uint64(r.tail.Bytes()) + r.tables()
		if at, err = s.Commit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if err := s.flushNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := size() - before; took > asked || asked > 8*took+(1<<18) {
			t.Errorf("%+v took %d bytes, asked for were %d", c, took, asked)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAWriterThatPanicsLeavesNothingBehind(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s}
	func() {
		defer func() { _ = recover() }()
		_ = s.write(t.Context(), func(c *conn, _ int64) error {
			if err := c.exec(`INSERT INTO offsets VALUES (7, 'x', 1, 1)`); err != nil {
				t.Error(err)
			}
			panic("provoked")
		})
	}()
	if err := f.commit(3); err != nil {
		t.Error(err)
	}
	f.check()
	if p, err := s.Partition(t.Context(), 7); err != nil || p.Offset != (store.Offset{}) {
		t.Errorf("%+v, %v", p, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOnAFullDiskACheckpointIsMadeThatFitsIntoItsFile(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1, CheckpointLog: 1, Disk: func() (uint64, uint64, error) { return free.Load(), 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s, noise: true, rollups: 500, states: 500}
	run := func(sql string) {
		t.Helper()
		if err := s.write(t.Context(), func(c *conn, _ int64) error { err := c.exec(sql); return err }); err != nil {
			t.Fatal(err)
		}
		if err := s.checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TABLE ballast AS SELECT random() AS a, random() AS b FROM range(2000000)`)
	f.must(f.commit(1000))
	f.must(f.flush())
	run(`DROP TABLE ballast`) // what comes behind it in the file stays there
	f.must(f.commit(100))
	f.must(f.flush())
	before := sizeOf(path)
	free.Store(checkpointMark)
	tasks := s.upkeep()
	if s.keepUp(t.Context(), tasks); tasks[len(tasks)-1].full {
		t.Error("a checkpoint found no room that needs none")
	}
	if sizeOf(path+".wal") > 0 || sizeOf(path) > before {
		t.Errorf("the log has %d bytes; the file had %d and has %d", sizeOf(path+".wal"), before, sizeOf(path))
	}
	f.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFlushAsksForRoomWhenItIsItsTurn(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1, Disk: func() (uint64, uint64, error) { return free.Load(), 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s}
	f.must(f.commit(1))
	f.must(s.lock(t.Context()))
	done := make(chan error)
	go func() { done <- f.flush() }()
	free.Store(0) // whether the flush has begun to wait by now or not
	s.unlock()
	if err := <-done; !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("without room: %v", err)
	}
	f.check()
	if n := len(s.mem.segments.all); n != 0 {
		t.Errorf("%d segments", n)
	}
	free.Store(1 << 40)
	f.must(f.flush())
	f.check()
	f.must(s.Close())
}
