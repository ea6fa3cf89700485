package usage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	// lookEvery is how often what was counted is read again, of the last two hours; the whole month every wholeEvery.
	lookEvery  = 5 * time.Second
	wholeEvery = 10 * time.Minute
	// settled is when what a process has taken is counted in the store: back-pressure keeps the backlog shorter. What is in dispute until then
	// are duplicates, which the door takes and the store does not count.
	settled = 60 * time.Second
)

// Quotas knows how much of this month's events and bytes tenants have used: what was counted, and what this process has taken since. What other processes have taken
// is known when it is counted, some seconds later: by so much, and by the last request, a quota can be overrun.
type Quotas struct {
	ledger *Ledger
	now    func() time.Time
	log    *slog.Logger

	mu     sync.Mutex
	month  time.Time // of what follows
	of     map[tenant.ID]*account
	before map[tenant.ID]store.Counts // counted in hours before cut
	cut    time.Time
	whole  time.Time // when the whole month was read
}

// account is a tenant's month.
type account struct {
	counted store.Counts
	used    store.Counts // never less than what was counted
	taken   []taken      // by this process, of the last minute, oldest first
}

type taken struct {
	at time.Time
	n  store.Counts
}

// NewQuotas makes a Quotas that knows nothing yet: Look, then Run.
func NewQuotas(ledger *Ledger, now func() time.Time, log *slog.Logger) *Quotas {
	return &Quotas{ledger: ledger, now: now, log: log}
}

// Month is how many events and bytes a tenant has used this month, and how long the month still is.
func (q *Quotas) Month(t tenant.ID) (events, bytes int64, resets time.Duration) {
	now := q.now()
	month, next := Month(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	if a := q.of[t]; a != nil && q.month.Equal(month) {
		events, bytes = a.used.Events, a.used.Bytes
	}
	return events, bytes, next.Sub(now)
}

// Taken notes what was taken of a tenant.
func (q *Quotas) Taken(t tenant.ID, events, bytes int64) {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turn(now)
	a, n := q.account(t), store.Counts{Events: events, Bytes: bytes}
	a.used = sum(a.used, n)
	if last := len(a.taken) - 1; last >= 0 && now.Sub(a.taken[last].at) < time.Second {
		a.taken[last].n = sum(a.taken[last].n, n)
		return
	}
	a.taken = append(a.taken, taken{now, n})
}

func (q *Quotas) account(t tenant.ID) *account {
	a := q.of[t]
	if a == nil {
		a = &account{}
		q.of[t] = a
	}
	return a
}

// turn begins a new month if there is one. It is called with mu held.
func (q *Quotas) turn(now time.Time) {
	if month, _ := Month(now); q.of == nil || !q.month.Equal(month) {
		q.month, q.of, q.before, q.whole = month, map[tenant.ID]*account{}, nil, time.Time{}
	}
}

// Run looks every few seconds until ctx ends.
func (q *Quotas) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		err := q.Look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			q.log.Warn("what tenants have used cannot be read; quotas go by what was known and what this process takes", "error.message", err.Error())
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look reads what was counted.
func (q *Quotas) Look(ctx context.Context) error {
	now := q.now()
	q.mu.Lock()
	q.turn(now)
	month, from := q.month, q.cut
	whole := q.before == nil || now.Sub(q.whole) >= wholeEvery
	q.mu.Unlock()
	if whole {
		from = month
	}
	rows, err := q.ledger.counted(ctx, "", from, now.Add(time.Hour))
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.month.Equal(month) {
		return nil // it is another one by now
	}
	if whole {
		q.whole, q.cut, q.before = now, now.Add(-time.Hour).Truncate(time.Hour), map[tenant.ID]store.Counts{}
		for _, u := range rows {
			if u.Hour.Before(q.cut) {
				q.before[u.Tenant] = sum(q.before[u.Tenant], store.Counts{Events: u.Events, Bytes: u.Bytes})
			}
		}
	}
	q.settle(rows, now)
	return nil
}

// settle takes up what was counted: in the hours before the cut, and in those rows that are behind it.
func (q *Quotas) settle(rows []store.Usage, now time.Time) {
	counted := make(map[tenant.ID]store.Counts, len(q.before))
	for t, n := range q.before {
		counted[t] = n
	}
	for _, u := range rows {
		if !u.Hour.Before(q.cut) && !u.Hour.Before(q.month) {
			counted[u.Tenant] = sum(counted[u.Tenant], store.Counts{Events: u.Events, Bytes: u.Bytes})
		}
	}
	for t, n := range counted {
		q.account(t).counted = n
	}
	for t, a := range q.of {
		if _, known := counted[t]; !known {
			a.counted = store.Counts{}
		}
		a.settle(now)
	}
}

// settle: what is used is at least what was counted, and at most that and what was taken within the last minute, which may not be counted yet.
func (a *account) settle(now time.Time) {
	for len(a.taken) > 0 && now.Sub(a.taken[0].at) > settled {
		a.taken = a.taken[1:]
	}
	most := a.counted
	for _, t := range a.taken {
		most = sum(most, t.n)
	}
	a.used = store.Counts{Events: max(a.counted.Events, min(a.used.Events, most.Events)), Bytes: max(a.counted.Bytes, min(a.used.Bytes, most.Bytes))}
}

func sum(a, b store.Counts) store.Counts {
	return store.Counts{Events: a.Events + b.Events, Bytes: a.Bytes + b.Bytes}
}
