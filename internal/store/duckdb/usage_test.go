package duckdb

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

func TestRowsOfOneHourBecomeOneNowAndThen(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	noon := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	at := store.Offset{}
	commit := func(received time.Time) {
		t.Helper()
		to := store.Offset{Incarnation: "one", Seq: at.Seq + 1}
		e := event.Stored{Tenant: "acme", Position: event.Position{Seq: to.Seq}, Event: event.Event{ID: fmt.Sprint(to.Seq), Source: "s", Type: "a", Time: received, Received: received}}
		if at, err = s.Commit(t.Context(), &store.Commit{From: at, To: to, Events: []event.Stored{e}}); err != nil {
			t.Fatal(err)
		}
		if err := s.flushAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(want int64) {
		t.Helper()
		n, err := s.writer.number(t.Context(), `SELECT count(*) FROM usage`)
		if err != nil || n != want {
			t.Errorf("there are %d rows, %v; want %d", n, err, want)
		}
		used, err := s.Usage(t.Context(), "", noon.Add(-100*24*time.Hour), noon.Add(24*time.Hour))
		sum := int64(0)
		for _, u := range used {
			sum += u.Events
		}
		if err != nil || sum != int64(at.Seq) {
			t.Errorf("%d events are counted, %v; want %d", sum, err, at.Seq)
		}
	}
	commit(noon.Add(-99 * 24 * time.Hour))
	commit(noon.Add(-99 * 24 * time.Hour))
	for range 5 {
		commit(noon)
	}
	commit(noon.Add(-time.Hour))
	commit(noon.Add(-time.Hour))
	rows(9)
	s.mem.mu.Lock()
	s.mem.active.number = usageTidied
	s.mem.mu.Unlock()
	commit(noon)
	rows(2 + 1 + 1 + 1) // what is old stays as it is, the hour before, noon, and what the last flush has added to it
}
