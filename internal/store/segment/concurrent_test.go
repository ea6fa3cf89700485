package segment

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

// A view is taken under a lock that adding holds too, as the store does it, and read without.
func TestAViewStaysAsItIsWhileItsTailGrows(t *testing.T) {
	g := newGenerator(5)
	all := g.events(6000)
	var mu sync.Mutex
	var tail Tail
	var added atomic.Int64
	var r Reader
	var others sync.WaitGroup
	for reader := range 3 {
		others.Go(func() {
			for n := 0; n < len(all) && !t.Failed(); {
				mu.Lock()
				n = tail.Len()
				v, ok := tail.View("big")
				views := tail.Views(1)
				mu.Unlock()
				if !ok {
					continue
				}
				now := all[:n]
				set := &Set{Views: []View{v}}
				var got []event.Stored
				if err := r.Scan(t.Context(), set, "big", store.Scan{}, into(&got)); err != nil {
					t.Error(err)
				}
				if d := differ(got, now.scan("big", store.Scan{})); d != "" {
					t.Errorf("reader %d at %d events: %s", reader, n, d)
				}
				page, err := r.Page(t.Context(), set, "big", store.Page{Limit: 10})
				if d := differ(page, now.page("big", store.Page{Limit: 10})); d != "" || err != nil {
					t.Errorf("reader %d at %d events: %s, %v", reader, n, d, err)
				}
				count := 0
				if err := r.Identities(t.Context(), &Set{Views: views}, 1, time.Time{}, func(store.Identity) error { count++; return nil }); err != nil || count != len(now.identities(1, time.Time{})) {
					t.Errorf("reader %d at %d events: %d identities, %v", reader, n, count, err)
				}
			}
		})
	}
	for i := range all {
		mu.Lock()
		tail.Add(&all[i])
		mu.Unlock()
		added.Add(1)
	}
	// What is sealed is what was added, whoever reads meanwhile.
	s, err := NewBuilder().Build(&tail, filepath.Join(t.TempDir(), "a.seg"))
	if err != nil || s.Rows != len(all) {
		t.Error(s, err)
	}
	others.Wait()
}

func TestManyReadOneSegmentUntilItIsReleased(t *testing.T) {
	g := newGenerator(6)
	tail := tailOf(g.events(3000))
	s := sealed(t, NewBuilder(), tail)
	var r Reader
	var others sync.WaitGroup
	for range 4 {
		s.Use()
		others.Go(func() {
			k := kept{t: t, segments: []*Segment{s}}
			own := &generator{Rand: newGenerator(9).Rand, made: g.made}
			for range 5 {
				p := store.Page{EventFilter: own.filter(), Limit: 20}
				got, err := r.Page(t.Context(), k.set("big"), "big", p)
				if d := differ(got, g.made.page("big", p)); d != "" || err != nil {
					t.Error(d, err)
				}
				like := g.made[own.IntN(len(g.made))]
				if _, found, err := r.Find(t.Context(), k.set(like.Tenant), like.Tenant, like.Source, like.ID); err != nil || !found {
					t.Errorf("%q of %q: %v, %v", like.ID, like.Tenant, found, err)
				}
			}
			if err := s.Release(); err != nil {
				t.Error(err)
			}
		})
	}
	others.Wait()
}
