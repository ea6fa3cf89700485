package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
)

func (s catalogSuite) lifecycle() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"everything outlives a restart": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			kept := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Lookup: "L", Body: body("k"), At: at()})
			simplePut(t, c, "acme", store.KindKey, "deleted")
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "deleted"}))
			must(t, c.Queue().Enqueue(t.Context(), "tail", 42, []store.Job{job("acme", "j", at())}))
			before := revision(t, c)
			must(t, c.Close())

			c = s.reopen(t, dir)
			got, err := c.Find(t.Context(), store.KindKey, "L")
			must(t, err)
			sameResource(t, "after the restart, it", got, kept)
			wantSlugs(t, c, "acme", store.KindKey, "acme/k")
			wantPosition(t, c.Queue(), "tail", 42)
			sameJob(t, "after the restart, the job", one(t, c.Queue(), "acme"), job("acme", "j", at()))
			if now := revision(t, c); now != before {
				t.Errorf("the restart took the revision from %d to %d", before, now)
			}
			if next := simplePut(t, c, "acme", store.KindKey, "next"); next.Revision <= before {
				t.Errorf("after revision %d came %d", before, next.Revision)
			}
		},
		"a cancelled call changes nothing and says so": func(t *testing.T) {
			c := s.fresh(t)
			r := simplePut(t, c, "acme", store.KindRule, "r")
			must(t, c.Queue().Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for name, err := range calls(ctx, c) {
				if !isAny(err, context.Canceled) {
					t.Errorf("%s: error is %v, want %v", name, err, context.Canceled)
				}
			}
			got, err := c.Get(t.Context(), "acme", store.KindRule, "r")
			must(t, err)
			sameResource(t, "after the cancelled calls, it", got, r)
			wantPosition(t, c.Queue(), "tail", 1)
			sameJob(t, "after the cancelled calls, the job", one(t, c.Queue(), "acme"), job("acme", "j", at()))
		},
		"a closed catalog says so, and can be closed again": func(t *testing.T) {
			c := s.fresh(t)
			must(t, c.Close())
			must(t, c.Close())
			for name, err := range calls(t.Context(), c) {
				if !isAny(err, store.ErrClosed) {
					t.Errorf("%s: error is %v, want %v", name, err, store.ErrClosed)
				}
			}
		},
		"a close in the midst of writes loses none that had returned": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			var done atomic.Int64
			enough := make(chan struct{})
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := 0; ; i++ {
						slug := fmt.Sprintf("r-%d-%d", w, i)
						if _, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: slug, At: at()}); err != nil {
							if !isAny(err, store.ErrClosed) {
								t.Errorf("error is %v, want %v", err, store.ErrClosed)
							}
							return
						}
						if done.Add(1) == 20 {
							close(enough)
						}
					}
				})
			}
			<-enough
			must(t, c.Close())
			wg.Wait()
			list, err := s.reopen(t, dir).List(t.Context(), "acme", store.KindRule)
			must(t, err)
			if int64(len(list)) != done.Load() {
				t.Errorf("%d puts returned, %d resources are there", done.Load(), len(list))
			}
		},
	}
}

// calls makes each call of the seam once and returns their errors by name.
func calls(ctx context.Context, c store.Catalog) map[string]error {
	q := c.Queue()
	j := job("acme", "j", at())
	j.State = store.JobDead
	return map[string]error{
		"Put":      second(c.Put(ctx, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("changed"), At: at()})),
		"Get":      second(c.Get(ctx, "acme", store.KindRule, "r")),
		"Find":     second(c.Find(ctx, store.KindRule, "L")),
		"List":     second(c.List(ctx, "acme", store.KindRule)),
		"Delete":   c.Delete(ctx, store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r"}),
		"Revision": second(c.Revision(ctx)),
		"Enqueue":  q.Enqueue(ctx, "tail", 2, []store.Job{job("acme", "k", at())}),
		"Position": second(q.Position(ctx, "tail")),
		"Claim":    second(q.Claim(ctx, at(), lease, 1)),
		"Finish":   q.Finish(ctx, j),
		"Jobs":     second(q.Jobs(ctx, "acme", "", 1)),
		"Touch":    c.Touch(ctx, []store.Use{{Tenant: "acme", Kind: store.KindRule, Slug: "r", At: at()}}),
		"Append":   second(c.Trail().Append(ctx, record("acme", "r", 0))),
		"Read":     second(c.Trail().Read(ctx, "acme", store.EntryQuery{}, 1)),
		"Walk":     c.Trail().Walk(ctx, "acme", store.Span{}, func(*store.Entry) error { return nil }),
		"Head":     second(c.Trail().Head(ctx, "acme")),
		"AddUsage": c.Usage().AddUsage(ctx, []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 1}}),
		"Usage":    second(c.Usage().Usage(ctx, "acme", bookedHour(0), bookedHour(24))),
		"Unbilled": second(c.Usage().Unbilled(ctx, bookedHour(24), 1)),
	}
}
