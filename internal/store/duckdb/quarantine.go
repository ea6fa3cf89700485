package duckdb

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// quarantineTable is small by nature. The event is kept in its log encoding, which no field of it can break.
const quarantineTable = `CREATE TABLE quarantine (
	"partition" INTEGER NOT NULL, tenant VARCHAR NOT NULL, id VARCHAR NOT NULL, seq UBIGINT NOT NULL, idx UINTEGER NOT NULL,
	stage VARCHAR NOT NULL, reason VARCHAR NOT NULL, event BLOB, raw BLOB, held_at BIGINT NOT NULL, attempts BIGINT NOT NULL)`

// replaceQuarantine adds entries, counting how often each was put there, and removes the released ones. One message of the log may hold
// thousands of events that fail, so no statement is made for a single entry.
func (c *conn) replaceQuarantine(ctx context.Context, m *store.Commit) error {
	if len(m.Quarantine)+len(m.Released) == 0 {
		return nil
	}
	keys := make([]store.QuarantineKey, 0, len(m.Quarantine)+len(m.Released))
	for i := range m.Quarantine {
		keys = append(keys, m.Quarantine[i].QuarantineKey)
	}
	keys = append(keys, m.Released...)
	attempts, err := c.takeFromQuarantine(ctx, keys)
	if err != nil {
		return err
	}
	for i := range m.Quarantine {
		attempts[m.Quarantine[i].QuarantineKey]++
	}
	for _, k := range m.Released {
		delete(attempts, k)
	}
	var rows []*store.Quarantined
	for _, q := range lastOfEach(m.Quarantine, func(q *store.Quarantined) store.QuarantineKey { return q.QuarantineKey }) {
		if attempts[q.QuarantineKey] > 0 {
			rows = append(rows, q)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return c.appendRows("quarantine", len(rows), func(f *filling, from, to int) {
		for i, q := range rows[from:to] {
			f.int32(0, i, part(m.Partition))
			f.string(1, i, string(q.Tenant))
			f.string(2, i, q.ID)
			f.uint64(3, i, q.Position.Seq)
			f.uint32(4, i, q.Position.Index)
			f.string(5, i, q.Stage)
			f.string(6, i, q.Reason)
			if q.Event == nil {
				f.null(7, i)
			} else {
				f.blob(7, i, event.AppendEvent(event.BeginBatch(nil), q.Tenant, q.Event))
			}
			f.blob(8, i, q.Raw)
			f.int64(9, i, q.At.UnixNano())
			f.int64(10, i, attempts[q.QuarantineKey])
		}
	})
}

// takeFromQuarantine removes the entries with these keys, and says how often each of them had been put there.
func (c *conn) takeFromQuarantine(ctx context.Context, keys []store.QuarantineKey) (attempts map[store.QuarantineKey]int64, err error) {
	tenants, ids := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		tenants[i], ids[i] = string(k.Tenant), k.ID
	}
	const among = ` FROM quarantine WHERE (tenant, id) IN (SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]))`
	r, err := c.query(ctx, `SELECT tenant, id, attempts`+among, tenants, ids)
	if err != nil {
		return nil, err
	}
	defer r.close()
	attempts = map[store.QuarantineKey]int64{}
	for r.next() {
		for i := range r.rows {
			k := store.QuarantineKey{Tenant: tenant.ID(r.string(0, i)), ID: r.string(1, i)}
			attempts[k] = max(attempts[k], r.int64(2, i))
		}
	}
	if len(attempts) == 0 {
		return attempts, nil
	}
	err = c.exec(`DELETE`+among, tenants, ids)
	return attempts, err
}

func (c *conn) quarantined(ctx context.Context, partition int) ([]store.QuarantineKey, error) {
	r, err := c.query(ctx, `SELECT tenant, id FROM quarantine WHERE "partition" = $1 ORDER BY tenant, id`, partition)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []store.QuarantineKey
	for r.next() {
		for i := range r.rows {
			all = append(all, store.QuarantineKey{Tenant: tenant.ID(r.string(0, i)), ID: r.string(1, i)})
		}
	}
	return all, nil
}

// Quarantined implements store.Events.
func (s *Store) Quarantined(ctx context.Context, t tenant.ID, q store.QuarantineQuery) ([]store.Quarantined, error) {
	w := ofTenant(t)
	if q.After != "" {
		w.and(`id > %s`, q.After)
	}
	if len(q.IDs) > 0 {
		w.and(`id IN (SELECT unnest(%s::VARCHAR[]))`, q.IDs)
	}
	sql := `SELECT "partition"::BIGINT, id, seq, idx, stage, reason, event, raw, held_at, attempts FROM quarantine WHERE ` + w.sql + ` ORDER BY id`
	if q.Limit > 0 {
		sql += ` LIMIT ` + w.param(q.Limit)
	}
	var all []store.Quarantined
	err := s.readUrgent(ctx, func(c *conn) error {
		r, err := c.query(ctx, sql, w.args...)
		if err != nil {
			return err
		}
		defer r.close()
		for r.next() {
			for i := range r.rows {
				one, err := r.quarantined(t, i)
				if err != nil {
					return err
				}
				all = append(all, one)
			}
		}
		return nil
	})
	return all, err
}

func (r *result) quarantined(t tenant.ID, i int) (store.Quarantined, error) {
	q := store.Quarantined{
		QuarantineKey: store.QuarantineKey{Tenant: t, ID: r.string(1, i)}, Partition: int(r.int64(0, i)),
		Position: event.Position{Seq: r.uint64(2, i), Index: r.uint32(3, i)}, Stage: r.string(4, i), Reason: r.string(5, i),
		At: time.Unix(0, r.int64(8, i)).UTC(), Attempts: int(r.int64(9, i)),
	}
	if !r.null(7, i) {
		q.Raw = []byte(r.string(7, i))
	}
	if r.null(6, i) {
		return q, nil
	}
	var d event.Decoder
	err := d.Decode([]byte(r.string(6, i)), func(ev event.Stored) error { q.Event = &ev.Event; return nil })
	if err != nil {
		return q, fmt.Errorf("quarantined event %s: %w", q.ID, err)
	}
	return q, nil
}
