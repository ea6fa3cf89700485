package duckdb

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

func TestSegmentsAreMergedWhenManySmallOnesLieBesideEachOther(t *testing.T) {
	const small, medium, large = 4<<10 - 1, 64<<10 - 1, mergedRows
	times := func(n int, rows int64) (all []fileEntry) {
		for range n {
			all = append(all, fileEntry{rows: rows, bytes: rows * 40})
		}
		return all
	}
	join := func(parts ...[]fileEntry) (all []fileEntry) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	heavy := times(10, 100)
	for i := range heavy {
		heavy[i].bytes = (32 << 20) / 9
	}
	for _, c := range []struct {
		name     string
		entries  []fileEntry
		from, to int
	}{
		{"none", nil, 0, 0},
		{"too few", times(mergeRun-1, small), 0, 0},
		{"just enough", times(mergeRun, small), 0, mergeRun},
		{"more than are merged at once", times(100, 1), 0, 4 * mergeRun},
		{"small ones behind a large one", join(times(1, large), times(mergeRun, 1)), 1, 1 + mergeRun},
		{"small ones apart", join(times(mergeRun-1, 1), times(1, large), times(mergeRun-1, 1)), 0, 0},
		{"small ones before those of medium size", join(times(mergeRun, medium), times(mergeRun, 1)), mergeRun, 2 * mergeRun},
		{"a few that make a large one", times(4, medium), 0, 4},
		{"those of medium size, as far as there is room", times(20, medium), 0, 4},
		{"a medium one among small ones", join(times(4, 1), times(1, medium), times(3, 1)), 0, 0},
		{"large ones", times(100, large), 0, 0},
		{"few rows of many bytes, as far as there is room", heavy, 0, 9},
	} {
		if from, to := segmentTiers().pick(c.entries); from != c.from || to != c.to {
			t.Errorf("%s: %d to %d, want %d to %d", c.name, from, to, c.from, c.to)
		}
	}
}

// Merging comes to an end, leaves few segments, and does not write everything again and again.
func TestMergingLeavesFewSegments(t *testing.T) {
	for rows, again := range map[int64]int64{100: 6, 1000: 5, 10_000: 3, 50_000: 1} {
		const flushes = 2000
		var entries []fileEntry
		var written int64
		for range flushes {
			entries = append(entries, fileEntry{rows: rows, bytes: rows * 40})
			for from, to := segmentTiers().pick(entries); from < to; from, to = segmentTiers().pick(entries) {
				var one fileEntry
				for _, e := range entries[from:to] {
					one.rows, one.bytes = one.rows+e.rows, one.bytes+e.bytes
				}
				written += one.rows
				entries = slices.Concat(entries[:from], []fileEntry{one}, entries[to:])
				if written > 1000*flushes*rows {
					t.Fatalf("%d rows a flush: merging does not end", rows)
				}
			}
		}
		if most := int(flushes*rows>>16) + 2*mergeRun; len(entries) > most {
			t.Errorf("%d rows a flush: %d segments are left, want at most %d", rows, len(entries), most)
		}
		if written > again*flushes*rows {
			t.Errorf("%d rows a flush: each was written %.1f times more", rows, float64(written)/float64(flushes*rows))
		}
	}
}

func TestAMergeChangesNoAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	s, err := Open(t.Context(), quiet(path))
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]store.Offset{}
	for n := range 40 {
		p := n % 3
		c := counted(p, at[p], 1+n*7%50)
		if n == 20 { // the log begins anew
			c.To = store.Offset{Incarnation: "two", Seq: 1}
		}
		for i := range c.Events {
			c.Events[i].Seq, c.Events[i].Index = c.To.Seq, c.Events[i].Index+uint32(1000*n)
			c.Events[i].ID = fmt.Sprint(c.Events[i].ID, n)
		}
		if at[p], err = s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if n < 37 {
			if err := s.flushNow(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	answers := func() (all []any) {
		for p := range 3 {
			r := newReader(t, s, p)
			var scanned, after []event.Stored
			r.must(s.Scan(t.Context(), r.owner, store.Scan{}, kept(&scanned)))
			r.must(s.Scan(t.Context(), r.owner, store.Scan{After: event.Position{Seq: 3}, Limit: 70, EventFilter: store.EventFilter{Types: []string{"type-1"}}}, kept(&after)))
			page, err := s.Page(t.Context(), r.owner, store.Page{Limit: 100, EventFilter: store.EventFilter{Subject: "3"}})
			r.must(err)
			ev, err := s.Event(t.Context(), r.owner, "s", scanned[len(scanned)/2].ID)
			r.must(err)
			ids := map[store.Identity]int{}
			r.must(s.Identities(t.Context(), p, time.Time{}, func(i store.Identity) error {
				i.Source, i.ID = strings.Clone(i.Source), strings.Clone(i.ID)
				ids[i]++
				return nil
			}))
			all = append(all, scanned, after, page, ev, ids)
		}
		return all
	}
	want := answers()
	for merges := 0; ; merges++ {
		merged, err := s.mergeSegments(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !merged {
			if merges == 0 {
				t.Error("nothing was merged")
			}
			break
		}
		if !reflect.DeepEqual(answers(), want) {
			t.Fatalf("merge %d has changed an answer", merges)
		}
	}
	checkFiles(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), quiet(path)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(answers(), want) {
		t.Error("answers are others after a restart")
	}
	checkFiles(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNothingOfOldSegmentsRemains(t *testing.T) {
	s, err := Open(t.Context(), quiet(filepath.Join(t.TempDir(), "events.duckdb")))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, s, 0)
	heap := func() uint64 {
		for range 2 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var at store.Offset
	var early uint64
	const each, flushes = 500, 160
	for n := range flushes {
		if at, err = s.Commit(t.Context(), counted(0, at, each)); err != nil {
			t.Fatal(err)
		}
		r.must(s.flushNow(t.Context()))
		if n%10 == 9 {
			r.page()
			for merged := true; merged; {
				merged, err = s.mergeSegments(t.Context())
				r.must(err)
			}
		}
		if n == flushes/4 {
			early = heap()
		}
	}
	checkFiles(t, s)
	if n := len(s.mem.segments.all); n > 25 {
		t.Errorf("%d segments", n)
	}
	if users := s.mem.segments.users.Load(); users != 1 {
		t.Errorf("the list of segments has %d users", users)
	}
	if late := heap(); late > early+4<<20 {
		t.Errorf("%d MiB are in use after %d flushes, %d after %d", late>>20, flushes, early>>20, flushes/4)
	}
	if n := r.scan(each); n != each*flushes {
		t.Errorf("%d events", n)
	}
	r.must(s.Close())
}

// kept gathers events that are only lent.
func kept(all *[]event.Stored) func(*event.Stored) error {
	return func(ev *event.Stored) error {
		own := *ev
		own.Keep(nil)
		*all = append(*all, own)
		return nil
	}
}
