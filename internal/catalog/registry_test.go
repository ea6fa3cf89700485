package catalog_test

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestDefinitionsAreCompiledAnewOnlyWhenOneHasChanged(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	announced := 0
	c := catalog.New(s, func(tenant.ID) { announced++ }, time.Now)
	registry := catalog.NewRegistry(c, slog.New(slog.DiscardHandler))
	generation := int64(0)
	changes := func(what string, want bool, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(what, err)
		}
		now, err := registry.Generation(t.Context())
		if err != nil || (now != generation) != want {
			t.Errorf("%s: generation %d after %d, %v", what, now, generation, err)
		}
		if generation = now; (announced > 0) != want {
			t.Errorf("%s: announced %d times", what, announced)
		}
		announced = 0
	}
	body := json.RawMessage(`{}`)
	d := metric.Definition{Tenant: "a", Slug: "sales", Name: "Sales"}
	changes("a tenant", true, func() error {
		_, _, err := c.PutTenant(t.Context(), tenant.Tenant{ID: "a"}, catalog.Always)
		return err
	})
	changes("a metric", true, func() error {
		_, _, err := c.PutMetric(t.Context(), d, catalog.Always)
		return err
	})
	changes("a session", false, func() error {
		_, err := s.Put(t.Context(), store.Put{Tenant: "a", Kind: store.KindSession, Slug: "s1", Body: body, At: time.Now()})
		return err
	})
	changes("a group", false, func() error {
		_, err := c.PutGroup(t.Context(), "a", "g1", catalog.Group{Name: "staff"}, catalog.Always)
		return err
	})
	changes("another name", true, func() error {
		d.Name = "Turnover"
		_, _, err := c.PutMetric(t.Context(), d, catalog.Always)
		return err
	})
	all, err := registry.Tenant(t.Context(), "a")
	if p, ok := all.Metrics.BySlug("sales"); err != nil || !ok || p.Definition().Name != "Turnover" {
		t.Errorf("%v, %v", ok, err)
	}
	changes("one metric less", true, func() error { return c.DeleteMetric(t.Context(), "a", "sales", catalog.Always) })
}
