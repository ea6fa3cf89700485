package duckdb

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// One message of the log may hold 10 000 events that all fail, and come again.
func TestTenThousandEventsGoIntoQuarantineInFarLessThanAMinute(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	const n = 10_000
	at := store.Offset{}
	for round := 1; round <= 3; round++ {
		c := &store.Commit{From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}}
		now := time.Unix(1_700_000_000, 0).UTC()
		for i := range n {
			ev := &event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Time: now, Received: now, Identified: true, Data: fmt.Appendf(nil, `{"n":"%0500d"}`, i)}
			c.Quarantine = append(c.Quarantine, store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: tenant.ID([]string{"a", "b"}[i%2]), ID: fmt.Sprintf("%032x", i)},
				Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Stage: "commit", Reason: "it is refused", Event: ev, At: now})
		}
		if round == 3 { // they are good now
			for i := range c.Quarantine {
				c.Released = append(c.Released, c.Quarantine[i].QuarantineKey)
			}
			c.Quarantine = nil
		}
		began := time.Now()
		if at, err = s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("commit %d took %v", round, took)
		if took > 20*time.Second {
			t.Errorf("commit %d took %v", round, took)
		}
		held, err := s.Quarantined(t.Context(), "a", store.QuarantineQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{n / 2, n / 2, 0}[round-1]; len(held) != want {
			t.Fatalf("after commit %d there are %d entries, want %d", round, len(held), want)
		}
		if len(held) > 0 && held[0].Attempts != round {
			t.Errorf("after commit %d %d attempts are counted", round, held[0].Attempts)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
