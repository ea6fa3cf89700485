package duckdb

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

	noise bool // events don't compress
}

func (f *filler) commit(events int) error {
	f.t.Helper()
	c := &store.Commit{From: f.at, To: store.Offset{Incarnation: "one", Seq: f.at.Seq + 1}}
	now := time.Now()
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
	at, err := f.s.Commit(f.t.Context(), c)
	if err == nil {
		f.at = at
		f.n += events
	}
	return err
}

func (f *filler) check() {
	f.t.Helper()
	n := 0
	if err := f.s.Scan(f.t.Context(), "t", store.Scan{WithoutData: true}, func(*event.Stored) error { n++; return nil }); err != nil || n != f.n {
		f.t.Fatalf("%d events are stored (%v), want %d", n, err, f.n)
	}
}

func TestWritesAndCheckpointsWaitForRoomAndReadsDoNot(t *testing.T) {
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
	f := &filler{t: t, s: open()}
	if err := f.commit(3000); err != nil {
		t.Fatal(err)
	}
	log := sizeOf(path + ".wal")
	free.Store(reserveMost + log - 1)
	if !f.s.keepUp(t.Context(), false) || sizeOf(path+".wal") < log {
		t.Error("a checkpoint was made though there may not be room for it")
	}
	if err := f.commit(1000); err != nil {
		t.Errorf("with room for a commit: %v", err)
	}
	free.Store(reserveMost - 1)
	if err := f.commit(1); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("without room: %v", err)
	}
	f.check()
	if err := f.s.Close(); err != nil || sizeOf(path+".wal") < log {
		t.Errorf("closed without room: %v", err)
	}
	f.s = open()
	f.check()
	free.Store(1 << 40)
	if err := f.commit(1); err != nil || f.s.keepUp(t.Context(), true) || sizeOf(path+".wal") > 0 {
		t.Errorf("with room again: %v", err)
	}
	f.check()
	if err := f.s.Close(); err != nil {
		t.Error(err)
	}
}

func TestACheckpointIsKnownToRewriteAFewRowGroupsAtMost(t *testing.T) {
	for _, c := range []struct{ used, rows, want uint64 }{
		{0, 0, 0}, {1 << 20, 0, 1 << 20}, {100 << 20, rowGroup, 100 << 20}, {400 << 20, rewritten, 400 << 20}, {1 << 40, rewritten << 10, 1 << 30},
	} {
		if got := rewriting(c.used, c.rows); got != c.want {
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
	f := &filler{t: t, s: s, noise: true}
	for range 12 {
		free.Store(1 << 40)
		for sizeOf(path+".wal") < 16<<20 {
			if err := f.commit(1000); err != nil {
				t.Fatal(err)
			}
		}
		low, high := uint64(0), uint64(1<<40) // what is asked for is between these
		for high-low > 1<<20 {
			free.Store((low + high) / 2)
			if s.roomForCheckpoint(t.Context()) == nil {
				high = free.Load()
			} else {
				low = free.Load()
			}
		}
		before := sizeOf(path)
		if err := s.checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if grown := sizeOf(path) - min(before, sizeOf(path)); grown > high {
			t.Errorf("with %d MiB in the file %d MiB were asked for, and it grew by %d", before>>20, high>>20, grown>>20)
		}
	}
	free.Store(1 << 40)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp leaves no byte on the disk that dir is on.
func fillUp(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return ballast
}

func TestACommitThatMeetsAFullDiskIsTakenBackAndTheStoreIsOpenedAgain(t *testing.T) {
	dir := smallDisk(t, "size=64m")
	path := filepath.Join(dir, "data", "events.duckdb")
	blind := Config{Path: path, CompactEvery: -1, Disk: func() (uint64, uint64, error) { return 1 << 40, 1 << 40, nil }}
	f := &filler{t: t}
	open := func(cfg Config) {
		t.Helper()
		var err error
		if f.s, err = Open(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		f.check()
	}
	closes := func() {
		t.Helper()
		if err := f.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(blind)
	for range 3 {
		if err := f.commit(1000); err != nil {
			t.Fatal(err)
		}
	}
	ballast := fillUp(t, dir)
	for range 3 {
		if err := f.commit(1000); !errors.Is(err, store.ErrFull) || !errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrRefused) {
			t.Fatalf("on a full disk: %v", err)
		}
		if _, err := f.s.Partition(t.Context(), 0); !errors.Is(err, store.ErrBroken) {
			t.Fatalf("after a commit that was cut short: %v", err)
		}
		closes()
		open(blind)
	}
	if err := f.s.Close(); !errors.Is(err, store.ErrBroken) { // its log fits nowhere else
		t.Errorf("a checkpoint on a full disk: %v", err)
	}
	open(Config{Path: path, CompactEvery: -1})
	if err := f.commit(1); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("a store that looks at the disk: %v", err)
	}
	f.check()
	closes()
	open(Config{Path: path, CompactEvery: -1})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := f.commit(1000); err != nil {
		t.Errorf("with room again: %v", err)
	}
	f.check()
	closes()
	open(blind)
	closes()
}

func TestAtLeastAsMuchRoomIsAskedForAsACommitTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	at := store.Offset{}
	for _, c := range []struct{ events, data, rollups, distinct int }{{0, 0, 0, 0}, {1, 0, 3, 0}, {1000, 0, 0, 0}, {1000, 300, 100, 10}, {20, 1 << 20, 10, 0}, {20_000, 200, 1000, 100}} {
		before := sizeOf(path + ".wal")
		m := &store.Commit{From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}}
		now := time.Now()
		for i := range c.events {
			m.Events = append(m.Events, event.Stored{Tenant: "t", Position: event.Position{Seq: m.To.Seq, Index: uint32(i)}, Event: event.Event{
				ID: fmt.Sprint(m.To.Seq, i), Source: "s", Type: "a", Time: now, Received: now, Identified: true, Data: fmt.Appendf(nil, `"%0*d"`, c.data, i)}})
		}
		for i := range c.rollups {
			r := series.Rollup{Tenant: "t", Metric: int64(i), Labels: series.Labels{"a", "b"}, Step: time.Minute, Start: now.Truncate(time.Minute)}
			for j := range c.distinct {
				r.Agg.Add(series.Observation{At: now, Value: float64(j), Numeric: true, Distinct: uint64(i*j) * 0x9e3779b97f4a7c15, HasDistinct: true})
			}
			m.Rollups = append(m.Rollups, r)
		}
		if at, err = s.Commit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if took, asked := sizeOf(path+".wal")-before, written(m); took > asked || asked > 4*took+(1<<17) {
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
			if _, err := c.exec(`INSERT INTO offsets VALUES (7, 'x', 1, 1)`); err != nil {
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
	f := &filler{t: t, s: s, noise: true}
	run := func(sql string) {
		t.Helper()
		if err := s.write(t.Context(), func(c *conn, _ int64) error { _, err := c.exec(sql); return err }); err != nil {
			t.Fatal(err)
		}
		if err := s.checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TABLE ballast AS SELECT random() AS a, random() AS b FROM range(2000000)`)
	if err := f.commit(1000); err != nil {
		t.Fatal(err)
	}
	run(`DROP TABLE ballast`) // what comes behind it in the file stays there
	if err := f.commit(100); err != nil {
		t.Fatal(err)
	}
	before := sizeOf(path)
	free.Store(checkpointMark)
	if !s.keepUp(t.Context(), false) {
		t.Error("compaction had room")
	}
	if sizeOf(path+".wal") > 0 || sizeOf(path) > before {
		t.Errorf("the log has %d bytes; the file had %d and has %d", sizeOf(path+".wal"), before, sizeOf(path))
	}
	f.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestACommitAsksForRoomWhenItIsItsTurn(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1, Disk: func() (uint64, uint64, error) { return free.Load(), 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, s: s}
	if err := s.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- f.commit(1) }()
	free.Store(0) // whether the commit has begun to wait by now or not
	s.unlock()
	if err := <-done; !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("without room: %v", err)
	}
	f.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
