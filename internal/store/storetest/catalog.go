// Package storetest is what every provider of a store seam must pass: Catalog here, Events beside it. A suite takes a constructor, opens
// stores with it, and says in sentences what they promise.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// OpenCatalog opens the catalog of a folder: a fresh one for a folder not seen before, else the one that was closed. A provider
// whose catalog is elsewhere takes the folder as its name.
type OpenCatalog func(t *testing.T, dir string) store.Catalog

// Catalog checks that a provider keeps what store.Catalog and store.Queue promise. It takes a few seconds.
func Catalog(t *testing.T, open func(t *testing.T, dir string) store.Catalog) {
	s := catalogSuite{open: open}
	s.run(t, []catalogGroup{
		{"Resources", s.resources()},
		{"Changes", s.changes()},
		{"Queue", s.queue()},
		{"Leases", s.leases()},
		{"Usage", s.usage()},
		{"Lifecycle", s.lifecycle()},
	})
}

// Resources is the part of Catalog that is about resources, for what wraps a provider and leaves the rest to it.
func Resources(t *testing.T, open func(t *testing.T, dir string) store.Catalog) {
	s := catalogSuite{open: open}
	s.run(t, []catalogGroup{{"Resources", s.resources()}, {"Changes", s.changes()}})
}

type catalogGroup struct {
	name  string
	tests map[string]func(*testing.T)
}

func (s catalogSuite) run(t *testing.T, groups []catalogGroup) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, name := range sortedNames(group.tests) {
				t.Run(name, group.tests[name])
			}
		})
	}
}

type catalogSuite struct{ open OpenCatalog }

// at is when the suite's story begins, with nanoseconds, which must survive.
func at() time.Time { return time.Date(2026, 11, 23, 9, 30, 0, 123456789, time.UTC) }

func sortedNames(tests map[string]func(*testing.T)) []string {
	names := make([]string, 0, len(tests))
	for n := range tests {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// fresh opens an empty catalog and closes it when the test ends.
func (s catalogSuite) fresh(t *testing.T) store.Catalog {
	t.Helper()
	return s.reopen(t, t.TempDir())
}

func (s catalogSuite) reopen(t *testing.T, dir string) store.Catalog {
	t.Helper()
	c := s.open(t, dir)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func (s catalogSuite) resources() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"what is put comes back, byte for byte and to the nanosecond": func(t *testing.T) {
			c := s.fresh(t)
			body := json.RawMessage("{ \"name\" : \"Zürich \\u0000 \U0001F680\",\n \"n\":1.0 }")
			put := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindMetric, Slug: "m-1", Lookup: "L", Body: body, At: at()})
			want := store.Resource{
				Tenant: "acme", Kind: store.KindMetric, Slug: "m-1", Lookup: "L", Body: body,
				ID: put.ID, Revision: put.Revision, CreatedAt: at(), UpdatedAt: at(),
			}
			sameResource(t, "Put", put, want)
			got, err := c.Get(t.Context(), "acme", store.KindMetric, "m-1")
			must(t, err)
			sameResource(t, "Get", got, want)
			got, err = c.Find(t.Context(), store.KindMetric, "L")
			must(t, err)
			sameResource(t, "Find", got, want)
			all, err := c.List(t.Context(), "acme", store.KindMetric)
			must(t, err)
			if len(all) != 1 {
				t.Fatalf("List returned %d resources, want 1", len(all))
			}
			sameResource(t, "List", all[0], want)
		},
		"what is missing is not found": func(t *testing.T) {
			c := s.fresh(t)
			simplePut(t, c, "acme", store.KindRule, "here")
			for _, err := range []error{
				second(c.Get(t.Context(), "acme", store.KindRule, "gone")),
				second(c.Get(t.Context(), "acme", store.KindMetric, "here")),
				second(c.Get(t.Context(), "", store.KindRule, "here")),
				second(c.Find(t.Context(), store.KindRule, "gone")),
				c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "gone"}),
				c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "gone", IfRevision: 7}),
			} {
				wantError(t, err, store.ErrNotFound)
			}
			if list, err := c.List(t.Context(), "acme", store.KindMetric); err != nil || len(list) != 0 {
				t.Errorf("List of nothing = %d resources, %v; want none, no error", len(list), err)
			}
		},
		"a resource without a lookup cannot be found by an empty one": func(t *testing.T) {
			c := s.fresh(t)
			simplePut(t, c, "acme", store.KindKey, "a")
			simplePut(t, c, "acme", store.KindKey, "b") // nor do two without one collide
			wantError(t, second(c.Find(t.Context(), store.KindKey, "")), store.ErrNotFound)
		},
		"a list is ordered by slug, that of all tenants by tenant and slug": func(t *testing.T) {
			c := s.fresh(t)
			for _, r := range [][2]string{{"b", "z"}, {"b", "a_1"}, {"a", "m"}, {"b", "a-1"}, {"b", "a1"}, {"a", "c"}} {
				simplePut(t, c, tenant.ID(r[0]), store.KindSource, r[1])
				simplePut(t, c, tenant.ID(r[0]), store.KindRule, "other-kind")
			}
			wantSlugs(t, c, "b", store.KindSource, "b/a-1", "b/a1", "b/a_1", "b/z")
			wantSlugs(t, c, "", store.KindSource, "a/c", "a/m", "b/a-1", "b/a1", "b/a_1", "b/z")
		},
		"tenants do not see, change or delete each other's": func(t *testing.T) {
			c := s.fresh(t)
			mine := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "same", Body: body("mine"), At: at()})
			theirs := putting(t, c, store.Put{Tenant: "evil", Kind: store.KindRule, Slug: "same", IfRevision: -1, Body: body("theirs"), At: at()})
			if mine.ID == theirs.ID {
				t.Errorf("two resources have the id %d", mine.ID)
			}
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "evil", Kind: store.KindRule, Slug: "same"}))
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "evil", Kind: store.KindRule, Slug: "same"}), store.ErrNotFound)
			wantSlugs(t, c, "evil", store.KindRule)
			got, err := c.Get(t.Context(), "acme", store.KindRule, "same")
			must(t, err)
			sameResource(t, "the other tenant's", got, mine)
		},
		"a put without tenant, kind or slug is refused": func(t *testing.T) {
			c := s.fresh(t)
			for _, p := range []store.Put{{Kind: store.KindRule, Slug: "s"}, {Tenant: "t", Slug: "s"}, {Tenant: "t", Kind: store.KindRule}} {
				if _, err := c.Put(t.Context(), p); err == nil {
					t.Errorf("Put(%+v) was accepted", p)
				}
			}
		},
		"a body of megabytes is no trouble": func(t *testing.T) {
			c := s.fresh(t)
			big, err := json.Marshal(string(make([]byte, 1<<18)))
			must(t, err)
			putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "big", Body: big, At: at()})
			got, err := c.Get(t.Context(), "acme", store.KindRule, "big")
			must(t, err)
			if !slices.Equal(got.Body, big) {
				t.Errorf("a body of %d bytes came back as %d others", len(big), len(got.Body))
			}
		},
	}
}

func simplePut(t *testing.T, c store.Catalog, id tenant.ID, k store.Kind, slug string) store.Resource {
	t.Helper()
	return putting(t, c, store.Put{Tenant: id, Kind: k, Slug: slug, Body: body(slug), At: at()})
}

func putting(t *testing.T, c store.Catalog, p store.Put) store.Resource {
	t.Helper()
	r, err := c.Put(t.Context(), p)
	must(t, err)
	return r
}

func body(name string) json.RawMessage { return json.RawMessage(`{"name":"` + name + `"}`) }

func second[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func wantSlugs(t *testing.T, c store.Catalog, id tenant.ID, k store.Kind, want ...string) {
	t.Helper()
	list, err := c.List(t.Context(), id, k)
	must(t, err)
	var got []string
	for _, r := range list {
		got = append(got, string(r.Tenant)+"/"+r.Slug)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List(%q, %s) = %v, want %v", id, k, got, want)
	}
}

func sameResource(t *testing.T, what string, got, want store.Resource) {
	t.Helper()
	if got.Tenant != want.Tenant || got.Kind != want.Kind || got.Slug != want.Slug || got.ID != want.ID || got.Lookup != want.Lookup ||
		got.Revision != want.Revision || !slices.Equal(got.Body, want.Body) || !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

func revision(t *testing.T, c store.Catalog) int64 {
	t.Helper()
	n, err := c.Revision(context.WithoutCancel(t.Context()))
	must(t, err)
	return n
}
