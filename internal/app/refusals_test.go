package app

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestOfManySignInsThatAreRefusedInAMinuteTheAuditLogNamesTheFirstAndCountsTheOthers(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), CheckEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	things := audit.Over(s, clock)
	a := &App{opts: Options{Now: clock, Log: slog.New(slog.DiscardHandler)}, catalog: catalog.New(things, func(tenant.ID) {}, clock)}
	for _, id := range []tenant.ID{"acme", "calm"} {
		if _, _, err := a.catalog.PutTenant(t.Context(), tenant.Tenant{ID: id}, catalog.Always); err != nil {
			t.Fatal(err)
		}
	}
	r := &refusals{app: a, things: things, of: map[tenant.ID]*refusedMinute{}}
	fail := func(id tenant.ID, n int) {
		for range n {
			r.refused(t.Context(), signin.Failure{Tenant: id, Reason: "no such account"})
		}
	}
	want := func(when string, id tenant.ID, n int, last string) {
		t.Helper()
		var refused []string
		err := things.Trail().Walk(t.Context(), id, store.Span{}, func(e *store.Entry) error {
			if e.Action == "session.refuse" {
				refused = append(refused, string(e.After))
			}
			return nil
		})
		if err != nil || len(refused) != n || !strings.Contains(refused[n-1], last) {
			t.Errorf("%s, %s: %d entries, %v, %v", when, id, len(refused), refused[max(0, len(refused)-1):], err)
		}
	}
	fail("acme", maxRefusals+7)
	fail("calm", 1)
	r.tell(t.Context(), now.Add(59*time.Second))
	want("within the minute", "acme", maxRefusals, "no such account")
	now = now.Add(time.Minute)
	r.tell(t.Context(), now)
	want("after it", "acme", maxRefusals+1, `"more":"7"`)
	want("after it", "calm", 1, "no such account")
	fail("acme", 1)
	want("in the next one", "acme", maxRefusals+2, "no such account")
}
