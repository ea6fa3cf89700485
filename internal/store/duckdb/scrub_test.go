package duckdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
)

func TestScrubbingFindsAFlippedBitInEveryBlockInUse(t *testing.T) {
	const block = 256 << 10
	dir := t.TempDir()
	s := open(t, dir, nil)
	l := newLoad()
	l.into(t, s, 40_000, 2_000)
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatalf("a store that is whole: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "events.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	found, missed := 0, 0
	for at := 3*4096 + block/3; at < len(whole); at += block {
		path := filepath.Join(t.TempDir(), "events.duckdb")
		b := append([]byte(nil), whole...)
		b[at] ^= 8
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := duckdb.Open(t.Context(), duckdb.Config{Path: path, CompactEvery: -1})
		if err == nil {
			err = s.Scrub(t.Context())
		}
		switch {
		case errors.Is(err, store.ErrDamaged):
			found++
		case err != nil:
			t.Errorf("byte %d: %v, want ErrDamaged", at, err)
		case reads(t, s) != nil:
			t.Errorf("byte %d: the store cannot be read, and scrubbing has not found out", at)
		default:
			missed++ // the block is a free one
		}
		if s != nil {
			_ = s.Close() // it may have been given up
		}
	}
	if found < 4 || missed > found/2 {
		t.Errorf("%d blocks found damaged, %d were free; the file has %d bytes", found, missed, len(whole))
	}
}

func reads(t *testing.T, s *duckdb.Store) error {
	t.Helper()
	return s.Scan(t.Context(), "default", store.Scan{}, func(*event.Stored) error { return nil })
}
