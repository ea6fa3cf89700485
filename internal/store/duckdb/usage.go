package duckdb

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// usageTable has what each flush has counted, by tenant and hour: rows of one hour are added up when they are read, and now and then in the table.
const usageTable = `CREATE TABLE usage (tenant VARCHAR NOT NULL, hour BIGINT NOT NULL, events BIGINT NOT NULL, bytes BIGINT NOT NULL, gen BIGINT NOT NULL)`

const (
	// usageTidied is after how many flushes rows of one hour become one: some minutes, and as many rows for each tenant.
	usageTidied = 256
	// usageYoung is for how many hours back: older ones have changed little since.
	usageYoung = 48
)

type usageRow struct {
	key store.UsageKey
	n   store.Counts
}

// addUsage writes what a flush has counted.
func (c *conn) addUsage(r *recent, gen int64) error {
	if r.usage.Len() == 0 {
		return nil
	}
	rows, newest := make([]usageRow, 0, r.usage.Len()), int64(0)
	r.usage.Each(func(k store.UsageKey, n store.Counts) {
		rows = append(rows, usageRow{k, n})
		newest = max(newest, k.Hour)
	})
	err := c.appendRows("usage", len(rows), func(f *filling, from, to int) {
		for i, row := range rows[from:to] {
			f.string(0, i, string(row.key.Tenant))
			f.int64(1, i, row.key.Hour)
			f.int64(2, i, row.n.Events)
			f.int64(3, i, row.n.Bytes)
			f.int64(4, i, gen)
		}
	})
	if err != nil || r.number%usageTidied != 0 {
		return err
	}
	since := newest - usageYoung
	err = c.exec(`INSERT INTO usage SELECT tenant, hour, sum(events)::BIGINT, sum(bytes)::BIGINT, $1 FROM usage WHERE gen < $1 AND hour >= $2 GROUP BY tenant, hour`, gen, since)
	if err != nil {
		return err
	}
	err = c.exec(`DELETE FROM usage WHERE gen < $1 AND hour >= $2`, gen, since)
	return err
}

// Usage implements store.Events.
func (s *Store) Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]store.Usage, error) {
	first, end := store.HourOf(from), store.HourOf(to.Add(time.Hour-1))
	all := map[store.UsageKey]store.Counts{}
	add := func(k store.UsageKey, n store.Counts) {
		if k.Hour < first || k.Hour >= end || t != "" && k.Tenant != t {
			return
		}
		was := all[k]
		all[k] = store.Counts{Events: was.Events + n.Events, Bytes: was.Bytes + n.Bytes}
	}
	err := s.read(ctx, func(c *conn) error {
		clear(all)
		if err := s.begin(ctx, c, func(r *recent) { r.usage.Each(add) }); err != nil {
			return err
		}
		if err := c.usage(ctx, t, first, end, add); err != nil {
			return err
		}
		err := c.exec(`ROLLBACK`)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.Usage, 0, len(all))
	for k, n := range all {
		out = append(out, store.Usage{Tenant: k.Tenant, Hour: store.HourAt(k.Hour), Events: n.Events, Bytes: n.Bytes})
	}
	slices.SortFunc(out, func(a, b store.Usage) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Hour.Compare(b.Hour)) })
	return out, nil
}

func (c *conn) usage(ctx context.Context, t tenant.ID, first, end int64, add func(store.UsageKey, store.Counts)) error {
	r, err := c.query(ctx, `SELECT tenant, hour, sum(events)::BIGINT, sum(bytes)::BIGINT FROM usage WHERE hour >= $1 AND hour < $2 AND ($3 = '' OR tenant = $3) GROUP BY tenant, hour`,
		first, end, string(t))
	if err != nil {
		return err
	}
	defer r.close()
	for r.next() {
		for i := range r.rows {
			add(store.UsageKey{Tenant: tenant.ID(r.string(0, i)), Hour: r.int64(1, i)}, store.Counts{Events: r.int64(2, i), Bytes: r.int64(3, i)})
		}
	}
	return nil
}
