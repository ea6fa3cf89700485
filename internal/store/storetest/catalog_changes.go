package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

func (s catalogSuite) changes() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"a change keeps the id and the time of creation": func(t *testing.T) {
			c := s.fresh(t)
			made := simplePut(t, c, "acme", store.KindRule, "r")
			changed := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("new"), At: at().Add(time.Hour)})
			want := made
			want.Body, want.Revision, want.UpdatedAt = body("new"), changed.Revision, at().Add(time.Hour)
			sameResource(t, "the changed resource", changed, want)
			if changed.Revision <= made.Revision {
				t.Errorf("the revision went from %d to %d", made.Revision, changed.Revision)
			}
		},
		"a fresh put gives a new id, once": func(t *testing.T) {
			c := s.fresh(t)
			p := store.Put{Tenant: "acme", Kind: store.KindMetric, Slug: "m", Body: body("m"), At: at()}
			first := putting(t, c, p)
			p.Fresh, p.At = true, at().Add(time.Hour)
			fresh := putting(t, c, p)
			p.Fresh = false
			last := putting(t, c, p)
			if fresh.ID <= first.ID || last.ID != fresh.ID || !fresh.CreatedAt.Equal(at()) {
				t.Errorf("ids are %d, fresh %d, then %d, created at %v", first.ID, fresh.ID, last.ID, fresh.CreatedAt)
			}
		},
		"ids begin at 1000 at least and are those of all kinds and tenants together": func(t *testing.T) {
			c := s.fresh(t)
			first := int64(0)
			for i, p := range []store.Put{
				{Tenant: "a", Kind: store.KindTenant, Slug: "a"}, {Tenant: "a", Kind: store.KindKey, Slug: "a"}, {Tenant: "b", Kind: store.KindKey, Slug: "a"},
			} {
				r := putting(t, c, p)
				if i == 0 {
					first = r.ID
				}
				if first < 1000 || r.ID != first+int64(i) {
					t.Errorf("resource %d has id %d, the first one %d", i, r.ID, first)
				}
			}
		},
		"an id is never used again, not even after a delete and a restart": func(t *testing.T) {
			dir := t.TempDir()
			seen := map[int64]bool{}
			for range 3 {
				c := s.reopen(t, dir)
				for range 2 {
					r := simplePut(t, c, "acme", store.KindMetric, "m")
					if seen[r.ID] {
						t.Fatalf("the id %d came again", r.ID)
					}
					seen[r.ID] = true
					must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindMetric, Slug: "m"}))
				}
				must(t, c.Close())
			}
		},
		"a put that names a revision succeeds at that one only": func(t *testing.T) {
			c := s.fresh(t)
			p := store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("1"), At: at()}
			p.IfRevision = 5
			wantError(t, second(c.Put(t.Context(), p)), store.ErrConflict) // there is none
			p.IfRevision = 0
			first := putting(t, c, p)
			p.IfRevision, p.Body = first.Revision, body("2")
			newer := putting(t, c, p)
			p.Body = body("3")
			for _, stale := range []int64{first.Revision, newer.Revision + 1, -2} {
				p.IfRevision = stale
				wantError(t, second(c.Put(t.Context(), p)), store.ErrConflict)
			}
			got, err := c.Get(t.Context(), "acme", store.KindRule, "r")
			must(t, err)
			sameResource(t, "after the conflicts, it", got, newer)
		},
		"a put with revision -1 only makes": func(t *testing.T) {
			c := s.fresh(t)
			p := store.Put{Tenant: "acme", Kind: store.KindTenant, Slug: "acme", Body: body("1"), IfRevision: -1, At: at()}
			putting(t, c, p)
			wantError(t, second(c.Put(t.Context(), p)), store.ErrConflict)
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindTenant, Slug: "acme"}))
			putting(t, c, p)
		},
		"a delete that names a revision succeeds at that one only": func(t *testing.T) {
			c := s.fresh(t)
			r := simplePut(t, c, "acme", store.KindRule, "r")
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: r.Revision + 1}), store.ErrConflict)
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: r.Revision}))
			wantSlugs(t, c, "acme", store.KindRule)
		},
		"what is rewritten says the same: only its body and its lookup are others": func(t *testing.T) {
			c := s.fresh(t)
			made := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Lookup: "L", Body: body("k"), At: at()})
			taken := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "other", Lookup: "O", Body: body("o"), At: at()})
			before := revision(t, c)
			r := store.Rewrite{Tenant: "acme", Kind: store.KindKey, Slug: "k", IfRevision: made.Revision, Lookup: "M", Body: body("another form")}
			must(t, c.Rewrite(t.Context(), r))
			want := made
			want.Lookup, want.Body = r.Lookup, r.Body
			got, err := c.Find(t.Context(), store.KindKey, "M")
			must(t, err)
			sameResource(t, "the rewritten one", got, want)
			if after := revision(t, c); after != before {
				t.Errorf("the revision went from %d to %d", before, after)
			}
			must(t, c.Rewrite(t.Context(), r)) // it still is at that revision
			wantError(t, second(c.Find(t.Context(), store.KindKey, "L")), store.ErrNotFound)
			gone, stale, others := r, r, r
			gone.Tenant, stale.IfRevision, others.Lookup = "evil", made.Revision+1, taken.Lookup
			wantError(t, c.Rewrite(t.Context(), gone), store.ErrNotFound)
			wantError(t, c.Rewrite(t.Context(), stale), store.ErrConflict)
			wantError(t, c.Rewrite(t.Context(), others), store.ErrConflict)
			putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Lookup: "L", Body: body("new"), IfRevision: made.Revision, At: at()})
			wantError(t, c.Rewrite(t.Context(), r), store.ErrConflict)
		},
		"a lookup is unique within its kind, over all tenants": func(t *testing.T) {
			c := s.fresh(t)
			mine := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Lookup: "L", Body: body("k"), At: at()})
			for _, slug := range []string{"k", "other"} {
				wantError(t, second(c.Put(t.Context(), store.Put{Tenant: "evil", Kind: store.KindKey, Slug: slug, Lookup: "L", At: at()})), store.ErrConflict)
			}
			putting(t, c, store.Put{Tenant: "evil", Kind: store.KindSource, Slug: "k", Lookup: "L", At: at()})
			got, err := c.Find(t.Context(), store.KindKey, "L")
			must(t, err)
			sameResource(t, "the first one", got, mine)
		},
		"a changed or deleted lookup is free again": func(t *testing.T) {
			c := s.fresh(t)
			put := func(slug, lookup string) error {
				return second(c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindKey, Slug: slug, Lookup: lookup, At: at()}))
			}
			must(t, put("a", "L"))
			must(t, put("a", "L")) // its own
			must(t, put("a", "M"))
			must(t, put("b", "L"))
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "b"}))
			wantError(t, second(c.Find(t.Context(), store.KindKey, "L")), store.ErrNotFound)
			must(t, put("c", "L"))
		},
		"the revision moves on with each change, a delete too, and not otherwise": func(t *testing.T) {
			c := s.fresh(t)
			last := revision(t, c)
			moves := func(what string, want bool) {
				t.Helper()
				now := revision(t, c)
				if now < last || (now > last) != want {
					t.Errorf("%s took the revision from %d to %d", what, last, now)
				}
				last = now
			}
			moves("nothing", false)
			r := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Lookup: "L", At: at()})
			moves("a put", true)
			if r.Revision != last {
				t.Errorf("the resource is at revision %d, the catalog at %d", r.Revision, last)
			}
			simplePut(t, c, "other", store.KindRule, "r")
			moves("another tenant's put", true)
			wantError(t, second(c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", IfRevision: -1, At: at()})), store.ErrConflict)
			wantError(t, second(c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "l", Lookup: "L", At: at()})), store.ErrConflict)
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "k", IfRevision: 1 << 40}), store.ErrConflict)
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "gone"}), store.ErrNotFound)
			moves("a refused change", false)
			must(t, c.Queue().Enqueue(t.Context(), "tail", 1, nil))
			moves("the queue", false)
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "k"}))
			moves("a delete", true)
		},
		"of many who change the same revision, one succeeds": func(t *testing.T) {
			c := s.fresh(t)
			r := simplePut(t, c, "acme", store.KindRule, "r")
			var mu sync.Mutex
			var won int
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					_, err := c.Put(t.Context(), store.Put{
						Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: r.Revision, Body: body(fmt.Sprint(i)), At: at(),
					})
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						won++
					case !errors.Is(err, store.ErrConflict):
						t.Errorf("error is %v, want %v", err, store.ErrConflict)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("%d writers succeeded, want 1", won)
			}
		},
		"who writes at the same time gets different ids and revisions, and is seen at once": func(t *testing.T) {
			c := s.fresh(t)
			var mu sync.Mutex
			ids, revisions := map[int64]bool{}, map[int64]bool{}
			var wg sync.WaitGroup
			const writers, each = 8, 10
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						slug := fmt.Sprintf("r-%d-%d", w, i)
						r, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: slug, Body: body(slug), At: at()})
						if err != nil {
							t.Error(err)
							return
						}
						if got, err := c.Get(t.Context(), "acme", store.KindRule, slug); err != nil || got.Revision != r.Revision {
							t.Errorf("right after its put, Get is at revision %d, %v; want %d", got.Revision, err, r.Revision)
						}
						if n, err := c.Revision(t.Context()); err != nil || n < r.Revision {
							t.Errorf("right after the put of revision %d, Revision is %d, %v", r.Revision, n, err)
						}
						mu.Lock()
						ids[r.ID], revisions[r.Revision] = true, true
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(ids) != writers*each || len(revisions) != writers*each {
				t.Errorf("%d puts gave %d ids and %d revisions", writers*each, len(ids), len(revisions))
			}
		},
	}
}
