package usage

import (
	"context"
	"log/slog"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

const (
	keepEvery = time.Minute
	// ClosedAfter is how long after its end an hour is taken to be over: what was received in it has been processed by then. What comes later all
	// the same is counted too, and is a new revision of the hour.
	ClosedAfter = 5 * time.Minute
	// keepBack is how far back hours are looked at again; keepFirst the first time, which is as far as the log reaches.
	keepBack  = 48 * time.Hour
	keepFirst = 35 * 24 * time.Hour
	// seriesBack is how much later than its hour an event may come and still be seen in the hour's series.
	seriesBack = 24 * time.Hour
)

// Keeper copies hours that are over into the book.
type Keeper struct {
	ledger *Ledger
	now    func() time.Time
	log    *slog.Logger
	// mine says whether it is this process's to do, of all of its fleet.
	mine  func() bool
	after func(context.Context) error
	again bool
}

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	Ledger *Ledger
	Now    func() time.Time
	Log    *slog.Logger
	// Mine says whether it is this process's to do; nil: always. Two that do it at once harm nothing.
	Mine func() bool
	// Then is called after each copy: what tells a billing system. It may be nil.
	Then func(ctx context.Context) error
}

// NewKeeper makes a Keeper; Run does the work.
func NewKeeper(cfg KeeperConfig) *Keeper {
	k := &Keeper{ledger: cfg.Ledger, now: cfg.Now, log: cfg.Log, mine: cfg.Mine, after: cfg.Then}
	if k.mine == nil {
		k.mine = func() bool { return true }
	}
	if k.after == nil {
		k.after = func(context.Context) error { return nil }
	}
	return k
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	failing := false
	for {
		if k.mine() {
			err := k.runOnce(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				k.log.Error("usage of past hours could not be brought into the catalog or to the billing system; it is tried again", "error.message", err.Error())
			}
			failing = err != nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// runOnce copies what has changed since, and does what is to be done after that.
func (k *Keeper) runOnce(ctx context.Context) error {
	if err := k.keep(ctx); err != nil {
		return err
	}
	return k.after(ctx)
}

func (k *Keeper) keep(ctx context.Context) error {
	now := k.now()
	to := now.Add(-ClosedAfter).Truncate(time.Hour)
	from := to.Add(-keepBack)
	if !k.again {
		from = to.Add(-keepFirst)
	}
	events, err := k.ledger.Events.Usage(ctx, "", from, to)
	if err != nil {
		return err
	}
	book, err := k.ledger.Book.Usage(ctx, "", from, to)
	if err != nil {
		return err
	}
	changed := differing(events, book)
	for i := 0; i < len(changed); {
		end := i + 1
		for end < len(changed) && changed[end].Tenant == changed[i].Tenant {
			end++
		}
		rows, err := k.withSeries(ctx, changed[i:end], to)
		if err != nil {
			return err
		}
		if err := k.ledger.Book.KeepUsage(ctx, rows); err != nil {
			return err
		}
		i = end
	}
	k.again = true
	return nil
}

// differing are the rows of the store of events of which the book has less.
func differing(events, book []store.Usage) (out []store.Usage) {
	has := make(map[store.UsageKey]*store.Usage, len(book))
	for i := range book {
		has[store.UsageKey{Tenant: book[i].Tenant, Hour: store.HourOf(book[i].Hour)}] = &book[i]
	}
	for _, u := range events {
		b := has[store.UsageKey{Tenant: u.Tenant, Hour: store.HourOf(u.Hour)}]
		if b == nil || u.Events > b.Events || u.Bytes > b.Bytes {
			out = append(out, u)
		}
	}
	return out
}

// withSeries are rows of a tenant with their series, and those of the day before, to which late events may have brought some.
func (k *Keeper) withSeries(ctx context.Context, rows []store.Usage, to time.Time) ([]store.Usage, error) {
	t, from := rows[0].Tenant, rows[0].Hour.Add(-seriesBack)
	counts, err := k.ledger.series(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	out := append([]store.Usage(nil), rows...)
	for i := range out {
		h := store.HourOf(out[i].Hour)
		out[i].Series = counts[h]
		delete(counts, h)
	}
	for h, n := range counts {
		out = append(out, store.Usage{Tenant: t, Hour: store.HourAt(h), Series: n})
	}
	return out, nil
}
