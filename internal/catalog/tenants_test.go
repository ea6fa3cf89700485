package catalog_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestATenantThatWasReadIsReadAnewWhenItHasChanged(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := catalog.New(s, func(tenant.ID) {}, time.Now)
	put := func(id tenant.ID, days int) {
		t.Helper()
		body, err := json.Marshal(tenant.Tenant{ID: id, RetentionDays: days})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), store.Put{Tenant: id, Kind: store.KindTenant, Slug: string(id), Body: body, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, days := range []int{30, 7} {
		put("a", days)
		put("b", days+1)
		for range 2 { // from the store, then from memory
			a, err := c.Tenant(t.Context(), "a")
			b, berr := c.Tenant(t.Context(), "b")
			if err != nil || berr != nil || a.ID != "a" || a.RetentionDays != days || b.RetentionDays != days+1 {
				t.Fatalf("%+v, %v; %+v, %v; want %d days", a, err, b, berr, days)
			}
		}
	}
	if err := s.Delete(t.Context(), store.Delete{Tenant: "a", Kind: store.KindTenant, Slug: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Tenant(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a tenant that is gone: %v", err)
	}
}
