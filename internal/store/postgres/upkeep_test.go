package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
)

const day = 24 * time.Hour

func TestWhichDaysArePartitions(t *testing.T) {
	now := time.Date(2026, 3, 14, 23, 59, 0, 0, time.UTC)
	today := now.Truncate(day)
	days := postgres.Missing(nil, now, 30*day)
	if first, last := days[0], days[len(days)-1]; !first.Equal(today.AddDate(0, 0, -31)) || !last.Equal(today.AddDate(0, 0, 7)) || len(days) != 39 {
		t.Errorf("%d days from %v to %v", len(days), first, last)
	}
	// An event may be thirty days late and ten minutes early.
	for _, at := range []time.Time{now.Add(-30 * day), now.Add(10 * time.Minute)} {
		if !slices.ContainsFunc(days, func(d time.Time) bool { return d.Equal(at.Truncate(day)) }) {
			t.Errorf("there is no partition for %v", at)
		}
	}
	have := map[time.Time]bool{}
	for _, d := range days {
		have[d] = true
	}
	if again := postgres.Missing(have, now, 30*day); len(again) != 0 {
		t.Errorf("again: %v", again)
	}
	if gone := postgres.Over(have, now, 30*day); len(gone) != 0 {
		t.Errorf("on the same day %v are over", gone)
	}
	for _, d := range postgres.Over(have, now.Add(3*day), 30*day) {
		if !d.Add(day).Before(now.Add(3*day - 31*day)) {
			t.Errorf("%v is over too early", d)
		}
	}
	if n := len(postgres.Over(have, now.Add(3*day), 30*day)); n != 3 {
		t.Errorf("after three days %d are over", n)
	}
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// at commits one event of a time, as the next message.
func (l *load) event(t testing.TB, db *postgres.DB, at time.Time) {
	t.Helper()
	c := &store.Commit{}
	c.To.Incarnation = "one"
	c.Events = []event.Stored{{Tenant: "acme", Position: event.Position{Seq: l.at.Seq + 1}, Event: event.Event{ID: at.String(), Source: "s", Type: "t", Time: at, Received: at}}}
	l.into(t, db, c)
}

func partitionsComeAndGo(t *testing.T, r *rig) {
	c := &clock{at: time.Now().UTC()}
	same := r.Clone(t, r.empty)
	db := open(t, same, func(cfg *postgres.Config) { brief(cfg); cfg.Now = c.now })
	other := open(t, same, func(cfg *postgres.Config) { brief(cfg); cfg.Now = c.now })
	l := &load{}
	begin := c.now()
	for _, at := range []time.Time{begin, begin.Add(10 * time.Minute), begin.Add(-day), begin.Add(-40 * day), begin.Add(20 * day)} {
		l.event(t, db, at)
	}
	count := func() (n int) {
		t.Helper()
		if err := db.Events().Scan(t.Context(), "acme", store.Scan{}, func(*event.Stored) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 5 {
		t.Errorf("%d events of 5 are there: some fell between the partitions", n)
	}
	maintain := func() {
		t.Helper()
		if err := db.Events().Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	maintain()
	if n := count(); n != 4 {
		t.Errorf("%d events after a maintenance, want 4: that of forty days ago is over", n)
	}
	c.add(15 * day) // for so long nobody maintained anything
	maintain()
	days, err := db.Days(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	today := c.now().Truncate(day)
	if !days[today] || !days[today.AddDate(0, 0, 7)] || !days[today.AddDate(0, 0, -1)] || days[begin.Truncate(day)] {
		t.Errorf("the partitions are %v at %v", days, today)
	}
	if n := count(); n != 1 {
		t.Errorf("%d events, want the one of the days to come", n)
	}
	// Another process knows nothing of the new partitions, nor that the one for begin is gone.
	l.event(t, other, c.now())
	l.event(t, other, begin)
	if n := count(); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// Somebody may keep events for longer than the others, and those of theirs that are older than all partitions are kept as well.
func aLongRetentionIsKept(t *testing.T, r *rig) {
	c := &clock{at: time.Now().UTC()}
	db := open(t, r.Clone(t, r.empty), func(cfg *postgres.Config) { brief(cfg); cfg.Now = c.now })
	if _, err := db.Catalog().Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindTenant, Slug: "acme", Body: []byte(`{"retention_days":365}`), At: c.now()}); err != nil {
		t.Fatal(err)
	}
	l := &load{}
	l.event(t, db, c.now().Add(-200*day))
	l.event(t, db, c.now())
	count := func() (n int) {
		t.Helper()
		if err := db.Events().Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Events().Scan(t.Context(), "acme", store.Scan{}, func(*event.Stored) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 2 {
		t.Errorf("%d events of a tenant that keeps a year, want 2", n)
	}
	c.add(100 * day)
	if n := count(); n != 2 {
		t.Errorf("%d events after a hundred days, want 2", n)
	}
	c.add(80 * day)
	if n := count(); n != 1 {
		t.Errorf("%d events, of which one is more than a year old, want 1", n)
	}
}

// What came before its day had a partition is found as before when the day gets one.
func earlyEventsMoveToTheirDay(t *testing.T, r *rig) {
	c := &clock{at: time.Now().UTC()}
	db := open(t, r.Clone(t, r.empty), func(cfg *postgres.Config) { brief(cfg); cfg.Now = c.now })
	l := &load{}
	soon := c.now().Add(9 * day)
	l.event(t, db, soon)
	c.add(8 * day)
	if err := db.Events().Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	days, err := db.Days(t.Context())
	if err != nil || !days[soon.Truncate(day)] {
		t.Fatalf("days %v, %v", days, err)
	}
	if e, err := db.Events().Event(t.Context(), "acme", "s", soon.String()); err != nil || !e.Time.Equal(soon) {
		t.Errorf("the event is %+v, %v", e, err)
	}
}

func compactionLeavesOneRowForEachSeries(t *testing.T, r *rig) {
	c := &clock{at: noon()}
	db := open(t, r.database(t), func(cfg *postgres.Config) { brief(cfg); cfg.Now = c.now })
	w := &worker{t: t, db: db}
	rows := func(table string) int {
		t.Helper()
		n, err := db.CountIn(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var at store.Offset
	commit := func(n int) {
		t.Helper()
		for range n {
			var err error
			if at, err = db.Events().Commit(t.Context(), w.message(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	due := func() {
		t.Helper()
		if err := db.Events().CompactDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	commit(40) // of one minute, which is not over
	due()
	if fresh, minutes := rows("rollup_fresh"), rows("rollup_1m"); fresh != 1 || minutes != 0 {
		t.Errorf("a pile of one minute became %d fresh rows and %d minutes", fresh, minutes)
	}
	commit(40) // 20 more of it, and 20 of the next
	c.add(10 * time.Minute)
	due()
	if got := fmt.Sprint(rows("rollup_fresh"), rows("rollup_1m"), rows("rollup_1h"), rows("rollup_1d")); got != "0 2 1 1" {
		t.Errorf("fresh rows, minutes, hours and days are %s", got)
	}
	w.check()
	commit(1) // a late one merges with what is there
	due()
	if got := fmt.Sprint(rows("rollup_fresh"), rows("rollup_1m"), rows("rollup_1h"), rows("rollup_1d")); got != "0 2 1 1" {
		t.Errorf("with a late event fresh rows, minutes, hours and days are %s", got)
	}
	w.check()
}

// A reader that tails transitions misses none, whoever commits them in which order.
func aTailOfTransitionsMissesNone(t *testing.T, r *rig) {
	db := r.fresh(t)
	const partitions, each = 6, 30
	var writers sync.WaitGroup
	for p := range partitions {
		writers.Go(func() {
			var at store.Offset
			for i := range each {
				tr := transitionOf("acme")
				tr.ID = fmt.Sprint(p, ".", i)
				var err error
				at, err = db.Events().Commit(t.Context(), &store.Commit{Partition: p, From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}, Transitions: []alert.Transition{tr}})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	last := uint64(0)
	until(t, "all transitions are seen", func() bool {
		next, err := db.Events().Transitions(t.Context(), last, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range next {
			if tr.Number != last+1 {
				t.Fatalf("number %d follows %d", tr.Number, last)
			}
			last = tr.Number
			seen[tr.ID] = true
		}
		return len(seen) == partitions*each
	})
	writers.Wait()
}

// A worker that is cut off in the middle of a commit must not hold up the one that takes over.
func aCommitWhoseOwnerIsGoneIsTakenBack(t *testing.T, r *rig) {
	db := r.fresh(t)
	w := &worker{t: t, db: db}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := db.Events().Commit(ctx, w.message(store.Offset{})); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := db.Events().Commit(ctx, w.message(store.Offset{Incarnation: "one", Seq: 1, Revision: 1})); !errors.Is(err, context.Canceled) {
		t.Errorf("a commit whose caller is gone: %v", err)
	}
	w.check()
}

// A read that is stopped in the middle of many rows leaves its connection neither busy nor lost.
func readsThatStopEarlyLeaveNoConnectionBehind(t *testing.T, r *rig) {
	db := open(t, r.database(t), func(c *postgres.Config) { brief(c); c.MaxConns = 2 })
	l := newLoad(0)
	for range 2 {
		l.into(t, db, l.commit(10_000, 0))
	}
	enough := errors.New("enough")
	for range 5 {
		n := 0
		err := db.Events().Scan(t.Context(), l.tenant(1), store.Scan{}, func(*event.Stored) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		err = db.Events().Identities(t.Context(), 0, time.Time{}, func(store.Identity) error {
			if n++; n == 6000 {
				return enough
			}
			return nil
		})
		if err != enough { //nolint:errorlint // as it is
			t.Fatal(err)
		}
	}
}

func TestTextsKeepTheirOrderAndPrefixes(t *testing.T) {
	all := []string{"", "\x00", "\x00\x00", "\x00a", "\x01", "\x01\x00", "\x01\x01", "\x02", "a", "a\x00", "a\x00b", "a\x01", "a\x01b", "a\x02", "ab", "ä", "\U0001F600"}
	for i, a := range all {
		if got := postgres.Unpacked(postgres.Packed(a)); got != a || strings.Contains(postgres.Packed(a), "\x00") {
			t.Errorf("%q became %q", a, got)
		}
		for j, b := range all {
			pa, pb := postgres.Packed(a), postgres.Packed(b)
			if (pa < pb) != (i < j) || strings.HasPrefix(pb, pa) != strings.HasPrefix(b, a) {
				t.Errorf("%q and %q are stored as %q and %q", a, b, pa, pb)
			}
		}
	}
}
