package duckdb

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

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

func TestAFlushThatMeetsAFullDiskKeepsAllInMemoryAndWhatIsOnDiskIsSound(t *testing.T) {
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
	open(blind)
	for range 3 {
		f.must(f.commit(1000))
		f.must(f.flush())
	}
	ballast := fillUp(t, dir)

	// A segment, or a file of rollups, that finds no place leaves nothing behind, and the store goes on.
	f.must(f.commit(1000))
	for range 3 {
		if err := f.flush(); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
			t.Fatalf("a flush on a full disk: %v", err)
		}
		f.check()
	}
	f.must(os.Remove(ballast))
	f.must(f.flush())
	f.check()
	ballast = fillUp(t, dir)
	f.rollups = 1000
	f.must(f.commit(0))
	if err := f.flush(); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Fatalf("a flush of rollups on a full disk: %v", err)
	}
	f.must(os.Remove(ballast))
	f.must(f.flush())
	f.rollups = 0
	f.check()
	if files := f.s.ForeignFiles(); len(files) > 0 {
		t.Errorf("there are files %v", files)
	}

	// A transaction that finds none ends the instance; what is on disk is as it was.
	onDisk, at := f.n, f.at
	for range 3 {
		fillUp(t, dir)
		f.states = 3000
		f.must(f.commit(0))
		if err := f.flush(); !errors.Is(err, store.ErrFull) || !errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrRefused) {
			t.Fatalf("a transaction on a full disk: %v", err)
		}
		if _, err := f.s.Partition(t.Context(), 0); !errors.Is(err, store.ErrBroken) {
			t.Fatalf("after a transaction that was cut short: %v", err)
		}
		f.must(f.s.Close())
		f.n, f.at = onDisk, at
		open(blind)
	}
	if err := f.s.Close(); !errors.Is(err, store.ErrBroken) { // its log fits nowhere else
		t.Errorf("a checkpoint on a full disk: %v", err)
	}
	f.states, f.urgent = 0, true
	open(Config{Path: path, CompactEvery: -1})
	if err := f.commit(1); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
		t.Errorf("a store that looks at the disk: %v", err)
	}
	f.check()
	f.must(os.Remove(ballast))
	f.must(f.commit(1000))
	f.check()
	f.must(f.s.Close())
	open(blind)
	f.must(f.s.Close())
}

// When memory is full as well, commits are refused; nothing is lost by it, and all goes on when there is room.
func TestCommitsAreTakenUntilMemoryIsFullWhenTheDiskIs(t *testing.T) {
	var free atomic.Uint64
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1, MemoryLimit: 4 << 30, Disk: func() (uint64, uint64, error) { return free.Load(), 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	at, taken := store.Offset{}, 0
	const each = 8192
	commit := func() error {
		c := &store.Commit{From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}}
		for i := range each {
			c.Events = append(c.Events, event.Stored{Tenant: "t", Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{ID: "x", Type: "a", Source: "s", Time: time.Unix(0, 0), Received: time.Unix(0, 0)}})
		}
		next, err := s.Commit(t.Context(), c)
		if err == nil {
			at, taken = next, taken+each
		}
		return err
	}
	for err == nil && taken < 4*flushRows {
		err = commit()
	}
	// One flush waits, of as much as there was when it was tried first, and what came since.
	if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) || taken < flushRows || taken > 2*flushRows+2*each {
		t.Fatalf("%d events were taken: %v", taken, err)
	}
	count := func() (n int) {
		if err := s.Scan(t.Context(), "t", store.Scan{WithoutData: true}, func(*event.Stored) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != taken {
		t.Errorf("%d events can be read, want %d", n, taken)
	}
	free.Store(1 << 40)
	if err := commit(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := s.flushNow(t.Context()); err != nil {
		t.Error(err)
	}
	if n := count(); n != taken {
		t.Errorf("%d events can be read, want %d", n, taken)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
