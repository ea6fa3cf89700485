package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
)

func TestCatalogConforms(t *testing.T) {
	storetest.Catalog(t, func(t *testing.T, dir string) store.Catalog { return open(t, filepath.Join(dir, "catalog.sqlite")) })
}

// open opens a catalog that is closed when the test ends.
func open(tb testing.TB, path string) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), sqlite.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestAuditLogConforms(t *testing.T) {
	storetest.Trail(t, func(t *testing.T, dir string) store.Catalog { return open(t, filepath.Join(dir, "catalog.sqlite")) },
		func(t *testing.T, _ string, c store.Catalog, sql string) {
			t.Helper()
			if err := c.(*sqlite.Store).Tamper(t.Context(), sql); err != nil { //nolint:forcetypeassert // as it was opened
				t.Fatal(err)
			}
		})
}
