package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// table is rows by column, for one statement that takes them all.
type table struct{ columns []any }

// column adds one, of what get gives for each row.
func column[T, V any](t *table, rows []T, get func(*T) V) {
	all := make([]V, len(rows))
	for i := range rows {
		all[i] = get(&rows[i])
	}
	t.columns = append(t.columns, all)
}

func replaceFills(ctx context.Context, tx pgx.Tx, all []store.Fill) error {
	if len(all) == 0 {
		return nil
	}
	type key struct {
		t      tenant.ID
		metric int64
	}
	rows := latest(all, func(f *store.Fill) key { return key{f.Tenant, f.Metric} })
	var t table
	column(&t, rows, func(f **store.Fill) int { return (*f).Partition })
	column(&t, rows, func(f **store.Fill) string { return packed(string((*f).Tenant)) })
	column(&t, rows, func(f **store.Fill) int64 { return (*f).Metric })
	column(&t, rows, func(f **store.Fill) int64 { return bits((*f).Upto.Seq) })
	column(&t, rows, func(f **store.Fill) int64 { return int64((*f).Upto.Index) })
	column(&t, rows, func(f **store.Fill) int64 { return bits((*f).Done.Seq) })
	column(&t, rows, func(f **store.Fill) int64 { return int64((*f).Done.Index) })
	column(&t, rows, func(f **store.Fill) bool { return (*f).Complete })
	column(&t, rows, func(f **store.Fill) *int64 { return nanos((*f).UpdatedAt) })
	_, err := tx.Exec(ctx, `INSERT INTO fills ("partition", tenant, metric, upto_seq, upto_idx, done_seq, done_idx, complete, updated_at)
		SELECT * FROM unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bool[], $9::bigint[])
		ON CONFLICT (tenant, metric) DO UPDATE SET "partition" = excluded."partition", upto_seq = excluded.upto_seq, upto_idx = excluded.upto_idx,
			done_seq = excluded.done_seq, done_idx = excluded.done_idx, complete = excluded.complete, updated_at = excluded.updated_at`, t.columns...)
	return err
}

func fills(ctx context.Context, tx pgx.Tx, partition int) ([]store.Fill, error) {
	rows, err := tx.Query(ctx, `SELECT tenant, metric, upto_seq, upto_idx, done_seq, done_idx, complete, updated_at FROM fills
		WHERE "partition" = $1 ORDER BY tenant, metric`, partition)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row pgx.Rows, f *store.Fill) error {
		var name string
		var upto, uptoIdx, done, doneIdx int64
		var updated *int64
		if err := row.Scan(&name, &f.Metric, &upto, &uptoIdx, &done, &doneIdx, &f.Complete, &updated); err != nil {
			return err
		}
		f.Tenant, f.Partition, f.UpdatedAt = tenant.ID(unpacked(name)), partition, moment(updated)
		f.Upto, f.Done = position(upto, uptoIdx), position(done, doneIdx)
		return nil
	})
}

func position(seq, idx int64) event.Position {
	return event.Position{Seq: uint64(seq), Index: uint32(idx)} //nolint:gosec // as they were stored
}

// collect reads all rows of a statement within a transaction.
func collect[T any](rows pgx.Rows, scan func(row pgx.Rows, into *T) error) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		all = append(all, *new(T))
		if err := scan(rows, &all[len(all)-1]); err != nil {
			return nil, err
		}
	}
	return all, rows.Err()
}

// stateRow is a state with what had to be encoded of it.
type stateRow struct {
	*alert.State
	place  digest
	labels string
	opened *string
}

func replaceStates(ctx context.Context, tx pgx.Tx, partition int, all []alert.State) error {
	var kept, gone []stateRow
	type key struct {
		t     tenant.ID
		rule  int64
		group string
	}
	for _, st := range latest(all, func(s *alert.State) key { return key{s.Tenant, s.RuleID, s.Group} }) {
		row := stateRow{State: st, place: digestOf([]byte(st.Group))}
		if st.Phase == alert.PhaseOK {
			gone = append(gone, row)
			continue
		}
		labels, err := json.Marshal(st.Labels)
		if err != nil {
			return fmt.Errorf("labels of the state of rule %d: %w: %w", st.RuleID, store.ErrRefused, err)
		}
		row.labels = string(labels)
		if st.Opened != nil {
			body, err := store.EncodeTransition(st.Opened)
			if err != nil {
				return err
			}
			text := string(body)
			row.opened = &text
		}
		kept = append(kept, row)
	}
	if len(gone) > 0 {
		var t table
		column(&t, gone, func(s *stateRow) string { return packed(string(s.Tenant)) })
		column(&t, gone, func(s *stateRow) int64 { return s.RuleID })
		column(&t, gone, func(s *stateRow) []byte { return s.place[:] })
		_, err := tx.Exec(ctx, `DELETE FROM rule_states s USING unnest($1::text[], $2::bigint[], $3::bytea[]) g (tenant, rule_id, place)
			WHERE s.tenant = g.tenant AND s.rule_id = g.rule_id AND s.place = g.place`, t.columns...)
		if err != nil {
			return err
		}
	}
	if len(kept) == 0 {
		return nil
	}
	var t table
	column(&t, kept, func(*stateRow) int { return partition })
	column(&t, kept, func(s *stateRow) string { return packed(string(s.Tenant)) })
	column(&t, kept, func(s *stateRow) int64 { return s.RuleID })
	column(&t, kept, func(s *stateRow) []byte { return s.place[:] })
	column(&t, kept, func(s *stateRow) []byte { return []byte(s.Group) })
	column(&t, kept, func(s *stateRow) string { return s.labels })
	column(&t, kept, func(s *stateRow) string { return packed(string(s.Phase)) })
	column(&t, kept, func(s *stateRow) *int64 { return nanos(s.Since) })
	column(&t, kept, func(s *stateRow) string { return packed(s.Incident) })
	column(&t, kept, func(s *stateRow) float64 { return s.Value })
	column(&t, kept, func(s *stateRow) *string { return s.opened })
	_, err := tx.Exec(ctx, `INSERT INTO rule_states ("partition", tenant, rule_id, place, "group", labels, phase, since, incident, value, opened)
		SELECT * FROM unnest($1::int[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::float8[], $11::text[])
		ON CONFLICT (tenant, rule_id, place) DO UPDATE SET "partition" = excluded."partition", labels = excluded.labels, phase = excluded.phase,
			since = excluded.since, incident = excluded.incident, value = excluded.value, opened = excluded.opened`, t.columns...)
	return err
}

func states(ctx context.Context, tx pgx.Tx, partition int) ([]alert.State, error) {
	rows, err := tx.Query(ctx, `SELECT tenant, rule_id, "group", labels, phase, since, incident, value, opened FROM rule_states
		WHERE "partition" = $1 ORDER BY tenant, rule_id, "group"`, partition)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row pgx.Rows, s *alert.State) error {
		var name, phase, incident string
		var group, labels, opened []byte
		var since *int64
		if err := row.Scan(&name, &s.RuleID, &group, &labels, &phase, &since, &incident, &s.Value, &opened); err != nil {
			return err
		}
		s.Tenant, s.Group, s.Phase, s.Since, s.Incident = tenant.ID(unpacked(name)), string(group), alert.Phase(unpacked(phase)), moment(since), unpacked(incident)
		if err := json.Unmarshal(labels, &s.Labels); err != nil {
			return fmt.Errorf("labels of the state of rule %d: %w", s.RuleID, err)
		}
		if opened == nil {
			return nil
		}
		if err := json.Unmarshal(opened, &s.Opened); err != nil {
			return fmt.Errorf("incident of the state of rule %d: %w", s.RuleID, err)
		}
		return nil
	})
}

// addTransitions numbers the new ones on from the last number. The counter's row stays locked until the commit is over, so numbers become visible in
// their order and without a gap: who has read up to one has missed none before it. That serializes commits that have transitions, which are few.
func addTransitions(ctx context.Context, tx pgx.Tx, partition int, all []alert.Transition) error {
	if len(all) == 0 {
		return nil
	}
	var number int64
	if err := tx.QueryRow(ctx, `SELECT value FROM counters WHERE name = 'transition' FOR UPDATE`).Scan(&number); err != nil {
		return err
	}
	type key struct{ tenant, id string }
	seen := map[key]bool{}
	var asked table
	column(&asked, all, func(t *alert.Transition) string { return packed(string(t.Tenant)) })
	column(&asked, all, func(t *alert.Transition) string { return packed(t.ID) })
	rows, err := tx.Query(ctx, `SELECT tenant, id FROM transitions WHERE (tenant, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`, asked.columns...)
	if err != nil {
		return err
	}
	known, err := collect(rows, func(row pgx.Rows, k *key) error { return row.Scan(&k.tenant, &k.id) })
	if err != nil {
		return err
	}
	for _, k := range known {
		seen[k] = true
	}
	type numbered struct {
		*alert.Transition
		number int64
		body   string
	}
	var fresh []numbered
	for i := range all {
		k := key{packed(string(all[i].Tenant)), packed(all[i].ID)}
		if seen[k] {
			continue
		}
		seen[k] = true
		body := all[i]
		body.Value, body.Threshold = 0, 0
		text, err := store.EncodeTransition(&body)
		if err != nil {
			return err
		}
		number++
		fresh = append(fresh, numbered{&all[i], number, string(text)})
	}
	if len(fresh) == 0 {
		return nil
	}
	var t table
	column(&t, fresh, func(r *numbered) int64 { return r.number })
	column(&t, fresh, func(*numbered) int { return partition })
	column(&t, fresh, func(r *numbered) string { return packed(string(r.Tenant)) })
	column(&t, fresh, func(r *numbered) string { return packed(r.ID) })
	column(&t, fresh, func(r *numbered) string { return packed(r.Incident) })
	column(&t, fresh, func(r *numbered) string { return packed(r.Rule) })
	column(&t, fresh, func(r *numbered) string { return packed(string(r.Kind)) })
	column(&t, fresh, func(r *numbered) int64 { return r.StartedAt.UnixNano() })
	column(&t, fresh, func(r *numbered) float64 { return r.Value })
	column(&t, fresh, func(r *numbered) float64 { return r.Threshold })
	column(&t, fresh, func(r *numbered) string { return r.body })
	_, err = tx.Exec(ctx, `INSERT INTO transitions (number, "partition", tenant, id, incident, rule, kind, started_at, value, threshold, body)
		SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::float8[], $10::float8[], $11::text[])`, t.columns...)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE counters SET value = $1 WHERE name = 'transition'`, number)
	}
	return err
}

func scanTransition(row pgx.Rows, t *store.NumberedTransition) error {
	var number int64
	var body []byte
	var value, threshold float64
	err := row.Scan(&number, &body, &value, &threshold)
	if err != nil {
		return err
	}
	t.Number = uint64(number) //nolint:gosec // counts from 1
	t.Transition, err = store.DecodeTransition(body, value, threshold)
	return err
}

// Transitions implements store.Events.
func (s *Events) Transitions(ctx context.Context, after uint64, limit int) ([]store.NumberedTransition, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	return rowsOf[store.NumberedTransition]{op: "transitions", who: asInstallation(), scan: scanTransition, ask: statement{
		`SELECT number, body, value, threshold FROM transitions WHERE number > $1 ORDER BY number LIMIT $2`, []any{int64(min(after, math.MaxInt64)), limit},
	}}.all(ctx, s.DB)
}

// Incidents implements store.Events.
func (s *Events) Incidents(ctx context.Context, t tenant.ID, q store.IncidentQuery) ([]alert.Incident, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	w := ofTenant(t)
	if q.Rule != "" {
		w.and(`rule = %s`, packed(q.Rule))
	}
	if q.ID != "" {
		w.and(`incident = %s`, packed(q.ID))
	}
	sql := `WITH every AS (
			SELECT incident, (array_agg(started_at ORDER BY number))[1] AS started, bool_or(kind = 'ok') AS over FROM transitions WHERE ` + w.sql + ` GROUP BY incident
		), wanted AS (SELECT incident, started FROM every WHERE true`
	switch q.State {
	case "":
	case "firing":
		sql += ` AND NOT over`
	case "resolved":
		sql += ` AND over`
	default:
		return nil, fmt.Errorf("incidents: %q is not a state: use firing, resolved or none", q.State)
	}
	if q.After != nil {
		sql += ` AND (started, incident) < (` + w.param(q.After.StartedAt.UnixNano()) + `::bigint, ` + w.param(packed(q.After.ID)) + `::text)`
	}
	sql += ` ORDER BY started DESC, incident DESC`
	if q.Limit > 0 {
		sql += ` LIMIT ` + w.param(q.Limit)
	}
	sql += `) SELECT number, body, value, threshold FROM transitions JOIN wanted USING (incident) WHERE tenant = $1 ORDER BY started DESC, incident DESC, number`
	var all []alert.Incident
	err := rowsOf[store.NumberedTransition]{op: "incidents", who: asTenant(t), scan: scanTransition, ask: statement{sql, w.args}}.each(ctx, s.DB,
		func(n *store.NumberedTransition) error {
			all = store.ApplyTransition(all, n.Transition)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return all, nil
}
