package usage

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Events is the part of store.Events that usage is read from.
type Events interface {
	Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error)
	Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error
}

// Metric is a metric whose series are counted.
type Metric struct {
	ID         int64
	Dimensions int
}

// Ledger reads usage.
type Ledger struct {
	Events Events
	Book   store.UsageBook
	// Metrics are a tenant's.
	Metrics func(ctx context.Context, t tenant.ID) ([]Metric, error)
}

// Rows are the hours from (inclusive) to (exclusive) of a tenant, of all tenants when it is empty, in which anything was used, by tenant and hour.
func (l *Ledger) Rows(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	rows, err := l.counted(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(rows); {
		end := i + 1
		for end < len(rows) && rows[end].Tenant == rows[i].Tenant {
			end++
		}
		if err := l.fillSeries(ctx, rows[i:end]); err != nil {
			return nil, err
		}
		i = end
	}
	return rows, nil
}

// counted is Rows without the series of hours that the book does not have yet.
func (l *Ledger) counted(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	rows, err := l.Book.Usage(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	events, err := l.Events.Usage(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	return merged(rows, events), nil
}

// merged is what the book and the store of events know, together. Both are by tenant and hour.
func merged(book, events []store.Usage) []store.Usage {
	all := append(slices.Clone(book), events...)
	slices.SortStableFunc(all, func(a, b store.Usage) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Hour.Compare(b.Hour)) })
	out := all[:0]
	for _, u := range all {
		if n := len(out); n > 0 && out[n-1].Tenant == u.Tenant && out[n-1].Hour.Equal(u.Hour) {
			was := &out[n-1]
			was.Events, was.Bytes, was.Series = max(was.Events, u.Events), max(was.Bytes, u.Bytes), max(was.Series, u.Series)
			continue
		}
		out = append(out, u)
	}
	return out
}

// fillSeries counts the series of a tenant's hours that have none in the book.
func (l *Ledger) fillSeries(ctx context.Context, rows []store.Usage) error {
	first, last := -1, -1
	for i := range rows {
		if rows[i].Events > 0 && rows[i].Series == 0 {
			if last = i; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return nil
	}
	counts, err := l.series(ctx, rows[0].Tenant, rows[first].Hour, rows[last].Hour.Add(time.Hour))
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].Series = max(rows[i].Series, counts[store.HourOf(rows[i].Hour)])
	}
	return nil
}

// series counts the series of all metrics of a tenant by hour: each rollup of an hour is one.
func (l *Ledger) series(ctx context.Context, t tenant.ID, from, to time.Time) (map[int64]int64, error) {
	metrics, err := l.Metrics(ctx, t)
	if err != nil {
		return nil, err
	}
	counts := map[int64]int64{}
	for _, m := range metrics {
		q := store.RollupQuery{Metric: m.ID, Step: time.Hour, From: from, To: to, GroupBy: dimensions(m.Dimensions), Bucket: time.Hour, Scalars: true}
		err := l.Events.Rollups(ctx, t, q, func(r *series.Rollup) error {
			counts[store.HourOf(r.Start)]++
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// Series is how many series the metrics of a tenant have altogether, whenever they had an event: what the quota bounds.
func (l *Ledger) Series(ctx context.Context, t tenant.ID, now time.Time) (n int64, err error) {
	metrics, err := l.Metrics(ctx, t)
	if err != nil {
		return 0, err
	}
	for _, m := range metrics {
		seen := map[string]bool{}
		const day = 24 * time.Hour
		q := store.RollupQuery{Metric: m.ID, Step: day, From: time.Unix(0, 0), To: now.Add(2 * day), GroupBy: dimensions(m.Dimensions), Bucket: day, Scalars: true}
		err := l.Events.Rollups(ctx, t, q, func(r *series.Rollup) error {
			if len(r.Labels) == 0 || r.Labels[0] != series.OtherValue {
				seen[string(r.Labels.AppendKey(nil))] = true
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		n += int64(len(seen))
	}
	return n, nil
}

func dimensions(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Month is the calendar month of a time, in UTC.
func Month(at time.Time) (from, to time.Time) {
	at = at.UTC()
	from = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// Total adds up rows. Series are the most of any hour.
func Total(rows []store.Usage) (sum store.Usage) {
	for i := range rows {
		sum = plus(sum, &rows[i])
	}
	return sum
}

func plus(a store.Usage, b *store.Usage) store.Usage {
	a.Events, a.Bytes, a.Series = a.Events+b.Events, a.Bytes+b.Bytes, max(a.Series, b.Series)
	a.Queries, a.Notifications = a.Queries+b.Queries, a.Notifications+b.Notifications
	return a
}

// Steps are rows, which are by tenant and hour, added up to steps of a width. A step's Hour is when it begins.
func Steps(rows []store.Usage, width time.Duration) (out []store.Usage) {
	for i := range rows {
		u := &rows[i]
		start := u.Hour.Truncate(width)
		if n := len(out); n == 0 || out[n-1].Tenant != u.Tenant || !out[n-1].Hour.Equal(start) {
			out = append(out, store.Usage{Tenant: u.Tenant, Hour: start})
		}
		out[len(out)-1] = plus(out[len(out)-1], u)
	}
	return out
}
