package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// replaceQuarantine adds entries, counting how often each was put there, and removes the released ones. One message of the log may hold
// thousands of events that fail, so no statement is made for a single entry.
func replaceQuarantine(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	if len(c.Quarantine) > 0 {
		times := map[store.QuarantineKey]int64{}
		for i := range c.Quarantine {
			times[c.Quarantine[i].QuarantineKey]++
		}
		rows := latest(c.Quarantine, func(q *store.Quarantined) store.QuarantineKey { return q.QuarantineKey })
		var t table
		column(&t, rows, func(**store.Quarantined) int { return c.Partition })
		column(&t, rows, func(q **store.Quarantined) string { return packed(string((*q).Tenant)) })
		column(&t, rows, func(q **store.Quarantined) string { return packed((*q).ID) })
		column(&t, rows, func(q **store.Quarantined) int64 { return bits((*q).Position.Seq) })
		column(&t, rows, func(q **store.Quarantined) int64 { return int64((*q).Position.Index) })
		column(&t, rows, func(q **store.Quarantined) string { return clean((*q).Stage) })
		column(&t, rows, func(q **store.Quarantined) string { return clean((*q).Reason) })
		column(&t, rows, func(q **store.Quarantined) []byte {
			if (*q).Event == nil {
				return nil
			}
			return event.AppendEvent(event.BeginBatch(nil), (*q).Tenant, (*q).Event)
		})
		column(&t, rows, func(q **store.Quarantined) []byte { return (*q).Raw })
		column(&t, rows, func(q **store.Quarantined) int64 { return (*q).At.UnixNano() })
		column(&t, rows, func(q **store.Quarantined) int64 { return times[(*q).QuarantineKey] })
		_, err := tx.Exec(ctx, `INSERT INTO quarantine ("partition", tenant, id, seq, idx, stage, reason, event, raw, held_at, attempts)
			SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bytea[], $10::bigint[], $11::bigint[])
			ON CONFLICT (tenant, id) DO UPDATE SET "partition" = excluded."partition", seq = excluded.seq, idx = excluded.idx, stage = excluded.stage, reason = excluded.reason,
				event = excluded.event, raw = excluded.raw, held_at = excluded.held_at, attempts = quarantine.attempts + excluded.attempts`, t.columns...)
		if err != nil {
			return err
		}
	}
	if len(c.Released) == 0 {
		return nil
	}
	var t table
	column(&t, c.Released, func(k *store.QuarantineKey) string { return packed(string(k.Tenant)) })
	column(&t, c.Released, func(k *store.QuarantineKey) string { return packed(k.ID) })
	_, err := tx.Exec(ctx, `DELETE FROM quarantine WHERE (tenant, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`, t.columns...)
	return err
}

func quarantinedKeys(ctx context.Context, tx pgx.Tx, partition int) ([]store.QuarantineKey, error) {
	rows, err := tx.Query(ctx, `SELECT tenant, id FROM quarantine WHERE "partition" = $1 ORDER BY tenant, id`, partition)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row pgx.Rows, k *store.QuarantineKey) error {
		var name, id string
		err := row.Scan(&name, &id)
		k.Tenant, k.ID = tenant.ID(unpacked(name)), unpacked(id)
		return err
	})
}

// Quarantined implements store.Events.
func (s *Events) Quarantined(ctx context.Context, t tenant.ID, q store.QuarantineQuery) ([]store.Quarantined, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	w := ofTenant(t)
	if q.After != "" {
		w.and(`id > %s`, packed(q.After))
	}
	if len(q.IDs) > 0 {
		w.and(`id = ANY(%s::text[])`, packedAll(q.IDs))
	}
	sql := `SELECT "partition", id, seq, idx, stage, reason, event, raw, held_at, attempts FROM quarantine WHERE ` + w.sql + ` ORDER BY id`
	if q.Limit > 0 {
		sql += ` LIMIT ` + w.param(q.Limit)
	}
	return rowsOf[store.Quarantined]{op: "quarantine", who: asTenant(t), ask: statement{sql, w.args}, scan: func(row pgx.Rows, q *store.Quarantined) error {
		return scanQuarantined(row, t, q)
	}}.all(ctx, s.DB)
}

func scanQuarantined(row pgx.Rows, t tenant.ID, q *store.Quarantined) error {
	var id string
	var seq, idx, at int64
	var body []byte
	if err := row.Scan(&q.Partition, &id, &seq, &idx, &q.Stage, &q.Reason, &body, &q.Raw, &at, &q.Attempts); err != nil {
		return err
	}
	q.QuarantineKey = store.QuarantineKey{Tenant: t, ID: unpacked(id)}
	q.Position, q.At = position(seq, idx), time.Unix(0, at).UTC()
	if body == nil {
		return nil
	}
	var d event.Decoder
	err := d.Decode(body, func(ev event.Stored) error { q.Event = &ev.Event; return nil })
	if err != nil {
		return fmt.Errorf("quarantined event %s: %w", q.ID, err)
	}
	return nil
}
