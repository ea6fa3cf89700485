package duckdb

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
)

func TestWhatWasInMemoryOfAStoreThatBrokeIsInTheOneThatIsOpenedInItsPlace(t *testing.T) {
	for name, flushedBefore := range map[string]bool{"nothing was on disk": false, "a part was on disk": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.duckdb")
			broken, err := Open(t.Context(), quiet(path))
			if err != nil {
				t.Fatal(err)
			}
			at, err := broken.Commit(t.Context(), counted(0, store.Offset{}, 5))
			if err != nil {
				t.Fatal(err)
			}
			if flushedBefore {
				if err := broken.flushNow(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if at, err = broken.Commit(t.Context(), counted(0, at, 5)); err != nil {
				t.Fatal(err)
			}
			sick := errors.Join(store.ErrBroken, errors.New("provoked"))
			broken.sick.Store(&sick)
			if err := broken.Close(); err != nil {
				t.Fatal(err)
			}
			cfg := quiet(path)
			cfg.Rest = broken.Rest()
			for range 2 { // the second time from disk alone
				s, err := Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				p, err := s.Partition(t.Context(), 0)
				if err != nil || p.Offset != at {
					t.Errorf("the partition is at %+v, %v, want %+v", p.Offset, err, at)
				}
				if n := newReader(t, s, 0).scan(5); n != 10 {
					t.Errorf("%d events, want 10", n)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				cfg.Rest = nil
			}
		})
	}
}
