package duckdb_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
)

func TestEvents(t *testing.T) {
	storetest.Events(t, func(t *testing.T, dir string) store.Events { return open(t, dir, nil) })
}

// open opens the store of a folder, with what it has to say in the test's log. Whoever opens it closes it.
func open(t testing.TB, dir string, change func(*duckdb.Config)) *duckdb.Store {
	t.Helper()
	cfg := duckdb.Config{Path: filepath.Join(dir, "events.duckdb"), MemoryLimit: 1 << 30, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&cfg)
	}
	s, err := duckdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
