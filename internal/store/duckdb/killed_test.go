package duckdb

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

// copied is what a process that is killed at this moment leaves: files as they are.
func copied(t *testing.T, path string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, filepath.Base(path))
}

// checkKilled opens what a killed process has left: it must be what n commits of each events have brought, with no file that is not of it.
func checkKilled(t *testing.T, path string, n, each int) {
	t.Helper()
	s, err := Open(t.Context(), quiet(copied(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, s, 0)
	p, err := s.Partition(t.Context(), 0)
	r.must(err)
	if p.Offset.Seq != uint64(n) || p.Offset.Revision != uint64(n) || n > 0 && (len(p.States) != 1 || p.States[0].Value != float64(n) || len(p.Fills) != 1 || p.Fills[0].Done.Seq != uint64(n)) {
		t.Errorf("the partition is at %+v, want %d", p, n)
	}
	if events, rollups := r.scan(each), r.rollups(time.Minute); events != n*each || rollups != n*each {
		t.Errorf("%d events and rollups of %d, want %d", events, rollups, n*each)
	}
	checkFiles(t, s)
	if _, err := s.Commit(t.Context(), counted(0, p.Offset, each)); err != nil {
		t.Error(err)
	}
	r.must(s.flushNow(t.Context()))
	if events := r.scan(each); events != (n+1)*each {
		t.Errorf("%d events after one more commit", events)
	}
	r.must(s.Close())
}

// checkFiles checks that there are the files of the store's segments, and open ones, and no others.
func checkFiles(t *testing.T, s *Store) {
	t.Helper()
	var want []string
	for _, seg := range s.mem.segments.all {
		want = append(want, seg.Path())
	}
	for _, f := range s.mem.rollups.all {
		want = append(want, f.Path())
	}
	slices.Sort(want)
	files, err := filepath.Glob(filepath.Join(s.segmentsDir(), "*"))
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("there are files %v, want %v: %v", files, want, err)
	}
	var opened []string
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(all) == 0 {
		t.Log("open files cannot be listed here")
		return
	}
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil && filepath.Dir(to) == s.segmentsDir() {
			opened = append(opened, to)
		}
	}
	slices.Sort(opened)
	if !slices.Equal(opened, want) {
		t.Errorf("files are open %v, want %v", opened, want)
	}
}

func TestAProcessKilledAtAnyPointOfAFlushOrAMergeLeavesTheStateOfAFlush(t *testing.T) {
	const each = 30
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), quiet(path))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, s, 0)
	var at store.Offset
	commit := func() {
		t.Helper()
		var err error
		at, err = s.Commit(t.Context(), counted(0, at, each))
		r.must(err)
	}
	checkKilled(t, path, 0, each)
	commit()
	checkKilled(t, path, 0, each) // it is in memory only
	r.must(s.flushNow(t.Context()))
	checkKilled(t, path, 1, each)
	commit()

	// The files are made, the transaction is not.
	made, err := s.sealFlush(s.mem.active)
	r.must(err)
	entry := made.segEntry
	r.must(os.WriteFile(s.filePath(eventFiles(), entry.number+1)+".new", []byte("PSseg"), 0o600)) // the next one was begun
	checkKilled(t, path, 1, each)
	r.must(os.Remove(s.filePath(eventFiles(), entry.number+1) + ".new"))
	r.must(made.discard(nil))

	// The transaction is made but for its end.
	errProvoked := errors.New("provoked")
	err = s.write(t.Context(), func(c *conn, gen int64) error {
		r.must(c.persist(t.Context(), s.mem.active, made, gen))
		checkKilled(t, path, 1, each)
		return errProvoked
	})
	if !errors.Is(err, errProvoked) {
		t.Error(err)
	}
	for range 7 {
		r.must(s.flushNow(t.Context()))
		commit()
	}
	r.must(s.flushNow(t.Context()))
	checkKilled(t, path, 9, each)

	if t.Failed() {
		t.FailNow()
	}

	// Segments are merged, and a reader still holds the ones that were.
	reading, release := make(chan struct{}), make(chan struct{})
	over := make(chan int)
	go func() {
		n := 0
		r.must(s.Scan(t.Context(), r.owner, store.Scan{}, func(*event.Stored) error {
			if n++; n == 1 {
				close(reading)
				<-release
			}
			return nil
		}))
		over <- n
	}()
	<-reading
	if merged, err := s.mergeSegments(t.Context()); !merged || err != nil {
		t.Fatal(merged, err)
	}
	checkKilled(t, path, 9, each)
	if merged, err := s.mergeRollups(t.Context()); !merged || err != nil {
		t.Fatal(merged, err)
	}
	if files, err := os.ReadDir(s.segmentsDir()); err != nil || len(files) < 9 {
		t.Errorf("%d files while they are read: %v", len(files), err)
	}
	checkKilled(t, path, 9, each)
	close(release)
	if n := <-over; n != 9*each {
		t.Errorf("who read meanwhile has got %d events", n)
	}
	checkFiles(t, s)
	checkKilled(t, path, 9, each)
	r.must(s.Close())
}

func TestUrgentCommitsAreOnDiskWhenCommitReturns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), quiet(path))
	if err != nil {
		t.Fatal(err)
	}
	var at store.Offset
	now := time.Unix(1_800_000_000, 0).UTC()
	for n, urgent := range []func(c *store.Commit){
		func(c *store.Commit) {
			c.Transitions = []alert.Transition{{ID: "t", Tenant: "tenant-0", Incident: "i", Kind: alert.PhaseFiring, StartedAt: now}}
		},
		func(c *store.Commit) {
			c.Quarantine = []store.Quarantined{{QuarantineKey: store.QuarantineKey{Tenant: "tenant-0", ID: "q"}, Stage: "decode", Raw: []byte("x"), At: now}}
		},
		func(c *store.Commit) { c.Released = []store.QuarantineKey{{Tenant: "tenant-0", ID: "q"}} },
	} {
		if at, err = s.Commit(t.Context(), counted(0, at, 5)); err != nil { // goes along
			t.Fatal(err)
		}
		c := counted(0, at, 5)
		urgent(c)
		if at, err = s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		left, err := Open(t.Context(), quiet(copied(t, path)))
		if err != nil {
			t.Fatal(err)
		}
		r := newReader(t, left, 0)
		if events := r.scan(5); events != 10*(n+1) {
			t.Errorf("after urgent commit %d there are %d events", n, events)
		}
		p, err := left.Partition(t.Context(), 0)
		r.must(err)
		transitions, err := left.Transitions(t.Context(), 0, 10)
		r.must(err)
		if p.Offset != at || len(transitions) != 1 || len(p.Quarantined) != n%2 {
			t.Errorf("after urgent commit %d: %+v, %d transitions", n, p, len(transitions))
		}
		r.must(left.Close())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
