package duckdb_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
)

func TestEvents(t *testing.T) {
	storetest.Events(t, func(t *testing.T, dir string) store.Events { return open(t, dir) })
}

// open opens the store of a folder, with what it has to say in the test's log. Whoever opens it closes it.
func open(t testing.TB, dir string) *duckdb.Store {
	t.Helper()
	s, err := duckdb.Open(t.Context(), duckdb.Config{
		Path: filepath.Join(dir, "events.duckdb"), MemoryLimit: 1 << 30, Threads: threads(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func threads() int {
	n, _ := strconv.Atoi(os.Getenv("T"))
	return n
}
