package duckdb

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

// TestWhatAReaderSeesIsNotWrittenOverUntilItLeaves: the memory of events that are on disk is for those that come next, but not while somebody reads it.
func TestWhatAReaderSeesIsNotWrittenOverUntilItLeaves(t *testing.T) {
	s, err := Open(t.Context(), quiet(filepath.Join(t.TempDir(), "events.duckdb")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r := newReader(t, s, 0)
	var at store.Offset
	commit := func() {
		t.Helper()
		at, err = s.Commit(t.Context(), counted(0, at, 1000))
		if err != nil {
			t.Fatal(err)
		}
	}
	commit()
	seen := 0
	r.must(s.Scan(t.Context(), r.owner, store.Scan{}, func(ev *event.Stored) error {
		if seen == 0 {
			for range 3 { // what was read is on disk now, and others need memory
				if err := s.flushAll(t.Context()); err != nil {
					return err
				}
				commit()
			}
		}
		if want := fmt.Sprintf(`{"seq":1,"i":%d}`, seen); ev.ID != fmt.Sprint("1-", seen) || string(ev.Data) != want {
			return fmt.Errorf("event %d is %s with %s", seen, ev.ID, ev.Data)
		}
		seen++
		return nil
	}))
	if seen != 1000 {
		t.Errorf("%d events were seen of 1000", seen)
	}
	r.must(s.flushAll(t.Context()))
	if taken, _ := s.mem.slabs.Held(); taken != 0 {
		t.Errorf("%d slabs are taken after the last reader left and all is on disk", taken)
	}
}
