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

// replaceQuarantine adds entries, counting how often each was put there, and removes the released ones.
func (c *conn) replaceQuarantine(ctx context.Context, m *store.Commit) error {
	for i := range m.Quarantine {
		q := &m.Quarantine[i]
		before, err := c.number(ctx, `SELECT max(attempts) FROM quarantine WHERE tenant = $1 AND id = $2`, string(q.Tenant), q.ID)
		if err != nil {
			return err
		}
		if err := c.release(q.QuarantineKey); err != nil {
			return err
		}
		var encoded, raw any
		if q.Event != nil {
			encoded = event.AppendEvent(event.BeginBatch(nil), q.Tenant, q.Event)
		}
		if q.Raw != nil {
			raw = q.Raw
		}
		_, err = c.exec(`INSERT INTO quarantine VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, m.Partition, string(q.Tenant), q.ID,
			q.Position.Seq, uint64(q.Position.Index), q.Stage, q.Reason, encoded, raw, q.At.UnixNano(), before+1)
		if err != nil {
			return err
		}
	}
	for _, k := range m.Released {
		if err := c.release(k); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) release(k store.QuarantineKey) error {
	_, err := c.exec(`DELETE FROM quarantine WHERE tenant = $1 AND id = $2`, string(k.Tenant), k.ID)
	return err
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
	err := s.read(ctx, func(c *conn) error {
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
