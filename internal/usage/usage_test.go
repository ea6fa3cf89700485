package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// counted is what a store of events says; the real ones have their own suite.
type counted struct {
	rows    []store.Usage
	rollups map[tenant.ID][]time.Time // when a series had an event
	asked   int
}

func (c *counted) Usage(_ context.Context, t tenant.ID, from, to time.Time) (out []store.Usage, err error) {
	c.asked++
	for _, u := range c.rows {
		if (t == "" || t == u.Tenant) && !u.Hour.Before(from.Truncate(time.Hour)) && u.Hour.Before(to) {
			out = append(out, u)
		}
	}
	return out, nil
}

func (c *counted) Rollups(_ context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	for _, at := range c.rollups[t] {
		if !at.Before(q.From) && at.Before(q.To) {
			if err := each(&series.Rollup{Start: at.Truncate(q.Step), Labels: series.Labels{"x"}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *counted) set(t tenant.ID, hour time.Time, events int64) {
	c.rows = slices.DeleteFunc(c.rows, func(u store.Usage) bool { return u.Tenant == t && u.Hour.Equal(hour) })
	c.rows = append(c.rows, store.Usage{Tenant: t, Hour: hour, Events: events, Bytes: 10 * events})
}

// rig is a ledger over a real book.
type rig struct {
	*Ledger
	t      *testing.T
	events *counted
	now    time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	book, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, events: &counted{rollups: map[tenant.ID][]time.Time{}}, now: noon()}
	r.Ledger = &Ledger{Events: r.events, Book: book.Usage(), Metrics: func(context.Context, tenant.ID) ([]Metric, error) { return []Metric{{ID: 1, Dimensions: 1}}, nil }}
	return r
}

func (r *rig) clock() time.Time { return r.now }

func TestAQuotaKnowsWhatWasCountedAndWhatWasTakenSince(t *testing.T) {
	r := newRig(t)
	q := NewQuotas(r.Ledger, r.clock, slog.New(slog.DiscardHandler))
	monday := noon().Add(-3 * 24 * time.Hour)
	r.events.set("acme", monday.Truncate(time.Hour), 100)
	r.events.set("acme", noon().AddDate(0, -1, 0), 1_000_000) // of another month
	look := func() {
		t.Helper()
		if err := q.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	used := func(when string, want int64) {
		t.Helper()
		events, bytes, resets := q.Month("acme")
		_, next := Month(r.now)
		if events != want || bytes != 10*want || resets != next.Sub(r.now) {
			t.Errorf("%s: %d events, %d bytes, the month ends in %v; want %d", when, events, bytes, resets, want)
		}
	}
	step := func(d time.Duration) { r.now = r.now.Add(d) }
	used("before the first look", 0)
	look()
	used("as counted", 100)
	q.Taken("acme", 10, 100)
	used("taken, not counted yet", 110)
	step(5 * time.Second)
	look()
	used("taken, still not counted", 110)
	r.events.set("acme", noon(), 10)
	step(5 * time.Second)
	look()
	used("taken and counted", 110)
	r.events.set("acme", noon(), 25) // another process took some
	step(5 * time.Second)
	look()
	used("what others took", 125)
	q.Taken("acme", 7, 70) // all of them duplicates
	used("duplicates, for a while", 132)
	step(30 * time.Second)
	look()
	used("duplicates, half a minute later", 132)
	step(31 * time.Second)
	look()
	used("duplicates, a minute later", 125)
	before := r.events.asked
	step(20 * time.Minute)
	r.events.set("acme", monday.Truncate(time.Hour), 101) // was in quarantine
	look()
	used("what came late of an earlier hour", 126)
	if r.events.asked != before+1 {
		t.Errorf("asked %d times in a look", r.events.asked-before)
	}
	r.now = time.Date(2026, 12, 1, 0, 0, 1, 0, time.UTC)
	used("in the new month", 0)
	q.Taken("acme", 1, 10)
	used("taken in the new month", 1)
	look()
	used("the new month, looked at", 1)
	if events, _, _ := q.Month("nobody"); events != 0 {
		t.Errorf("nobody used %d", events)
	}
}

func TestHoursThatAreOverAreCopiedAndNeverMadeLess(t *testing.T) {
	r := newRig(t)
	told := 0
	k := NewKeeper(KeeperConfig{Ledger: r.Ledger, Now: r.clock, Log: slog.New(slog.DiscardHandler), Then: func(context.Context) error { told++; return nil }})
	run := func() {
		t.Helper()
		if err := k.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(when string, want ...string) {
		t.Helper()
		rows, err := r.Book.Usage(t.Context(), "", noon().Add(-100*24*time.Hour), noon().Add(24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range rows {
			got = append(got, fmt.Sprintf("%s %s %d %d %d r%d", u.Tenant, u.Hour.Format("02T15"), u.Events, u.Bytes, u.Series, u.Revision))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	eleven, ten := noon().Add(-time.Hour), noon().Add(-2*time.Hour)
	r.events.set("acme", ten, 5)
	r.events.set("acme", eleven, 6)
	r.events.set("acme", noon(), 7)
	r.events.rollups["acme"] = []time.Time{ten, ten, ten.Add(time.Minute), eleven}
	r.now = noon().Add(ClosedAfter - time.Second)
	run()
	kept("before eleven o'clock's hour is taken to be over", "acme 23T10 5 50 3 r1")
	r.now = noon().Add(ClosedAfter)
	run()
	run()
	kept("when it is", "acme 23T10 5 50 3 r1", "acme 23T11 6 60 1 r1")
	r.events.set("acme", eleven, 8) // came out of quarantine, with an event of the hour before
	r.events.rollups["acme"] = append(r.events.rollups["acme"], ten.Add(2*time.Minute))
	run()
	kept("when more came late", "acme 23T10 5 50 4 r2", "acme 23T11 8 80 1 r2")
	r.events.rows = nil // the store of events was begun anew
	run()
	kept("when the store of events has lost it", "acme 23T10 5 50 4 r2", "acme 23T11 8 80 1 r2")
	r.events.set("acme", noon(), 1)
	rows, err := r.Rows(t.Context(), "acme", ten, noon().Add(time.Hour))
	if err != nil || len(rows) != 3 || Total(rows).Events != 14 || Total(rows).Series != 4 {
		t.Errorf("together %+v, %v", rows, err)
	}
	if told != 5 {
		t.Errorf("what comes then was called %d times", told)
	}
}

func TestStepsAddUpHoursAndSeriesAreTheMostOfAny(t *testing.T) {
	day := noon().Truncate(24 * time.Hour)
	rows := []store.Usage{{Tenant: "a", Hour: day, Events: 1, Series: 9, Queries: 1}, {Tenant: "a", Hour: day.Add(23 * time.Hour), Events: 2, Bytes: 3, Series: 5, Notifications: 2},
		{Tenant: "a", Hour: day.Add(24 * time.Hour), Events: 4}, {Tenant: "b", Hour: day, Events: 8}}
	want := []store.Usage{{Tenant: "a", Hour: day, Events: 3, Bytes: 3, Series: 9, Queries: 1, Notifications: 2}, {Tenant: "a", Hour: day.Add(24 * time.Hour), Events: 4}, {Tenant: "b", Hour: day, Events: 8}}
	if got := Steps(rows, 24*time.Hour); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Steps(rows, time.Hour); len(got) != 4 {
		t.Errorf("by hour: %+v", got)
	}
}

func TestQueriesAreWrittenOnceAndKeptWhileTheBookCannotBeWritten(t *testing.T) {
	r := newRig(t)
	m := NewMeter(r.Book, r.clock, slog.New(slog.DiscardHandler))
	m.Query("acme")
	m.Query("acme")
	r.now = noon().Add(time.Hour)
	m.Query("evil")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Flush(ended); err == nil {
		t.Fatal("written with a context that has ended")
	}
	m.Query("acme")
	m.Run(ended) // a stop writes what is left
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := r.Book.Usage(t.Context(), "", noon(), noon().Add(2*time.Hour))
	if err != nil || len(rows) != 3 || rows[0].Queries != 2 || rows[1].Queries != 1 || rows[2].Tenant != "evil" || rows[2].Queries != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// unanswered is a book whose answers are lost after it has written.
type unanswered struct{ store.UsageBook }

func (u unanswered) AddUsage(ctx context.Context, rows []store.Usage) error {
	return errors.Join(u.UsageBook.AddUsage(ctx, rows), store.ErrUncertain)
}

func TestQueriesThatMayHaveBeenWrittenAreNotWrittenAgain(t *testing.T) {
	r := newRig(t)
	m := NewMeter(unanswered{r.Book}, r.clock, slog.New(slog.DiscardHandler))
	m.Query("acme")
	for range 2 {
		if err := m.Flush(t.Context()); errors.Is(err, store.ErrUncertain) {
			m.book = r.Book
		}
	}
	rows, err := r.Book.Usage(t.Context(), "", noon(), noon().Add(time.Hour))
	if err != nil || len(rows) != 1 || rows[0].Queries != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
}
