package duckdb

import (
	"context"
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// addTransitions numbers the new ones on from the highest number.
func (c *conn) addTransitions(ctx context.Context, all []alert.Transition) error {
	if len(all) == 0 {
		return nil
	}
	known, err := c.knownTransitions(ctx, all)
	if err != nil {
		return err
	}
	var rows []*alert.Transition
	for i := range all {
		if !known[all[i].ID] {
			known[all[i].ID] = true
			rows = append(rows, &all[i])
		}
	}
	number, err := c.number(ctx, `SELECT max(number) FROM transitions`)
	if err != nil || len(rows) == 0 {
		return err
	}
	return c.appendRows("transitions", len(rows), func(f *filling, from, to int) {
		for i, t := range rows[from:to] {
			body := *t
			body.Value, body.Threshold = 0, 0
			text := f.transition(&body)
			number++
			f.int64(0, i, number)
			f.string(1, i, string(t.Tenant))
			f.string(2, i, t.ID)
			f.string(3, i, t.Incident)
			f.string(4, i, t.Rule)
			f.string(5, i, string(t.Kind))
			f.int64(6, i, t.StartedAt.UnixNano())
			f.float64(7, i, t.Value)
			f.float64(8, i, t.Threshold)
			f.string(9, i, string(text))
		}
	})
}

// transition encodes one.
func (f *filling) transition(t *alert.Transition) []byte {
	text, err := store.EncodeTransition(t)
	if err != nil && f.err == nil {
		f.err = err
	}
	return text
}

func (c *conn) knownTransitions(ctx context.Context, all []alert.Transition) (map[string]bool, error) {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	r, err := c.query(ctx, `SELECT id FROM transitions WHERE id IN (SELECT unnest($1::VARCHAR[]))`, ids)
	if err != nil {
		return nil, err
	}
	defer r.close()
	known := map[string]bool{}
	for r.next() {
		for i := range r.rows {
			known[r.string(0, i)] = true
		}
	}
	return known, nil
}

// transition reads one from the columns body, value and threshold, which begin at col.
func (r *result) transition(col, row int) (alert.Transition, error) {
	return store.DecodeTransition(r.view(col, row), r.float64(col+1, row), r.float64(col+2, row))
}

// Transitions implements store.Events.
func (s *Store) Transitions(ctx context.Context, after uint64, limit int) ([]store.NumberedTransition, error) {
	var all []store.NumberedTransition
	err := s.readUrgent(ctx, func(c *conn) error {
		r, err := c.query(ctx, `SELECT number, body, value, threshold FROM transitions WHERE number > $1 ORDER BY number LIMIT $2`,
			int64(min(after, math.MaxInt64)), limit)
		if err != nil {
			return err
		}
		defer r.close()
		for r.next() {
			for i := range r.rows {
				t, err := r.transition(1, i)
				if err != nil {
					return err
				}
				all = append(all, store.NumberedTransition{Number: uint64(r.int64(0, i)), Transition: t}) //nolint:gosec // counts from 1
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Incidents implements store.Events.
func (s *Store) Incidents(ctx context.Context, t tenant.ID, q store.IncidentQuery) ([]alert.Incident, error) {
	w := ofTenant(t)
	if q.Rule != "" {
		w.and(`rule = %s`, q.Rule)
	}
	if q.ID != "" {
		w.and(`incident = %s`, q.ID)
	}
	sql := `WITH wanted AS (
		SELECT incident, arg_min(started_at, number) AS started FROM transitions WHERE ` + w.sql + ` GROUP BY incident HAVING true`
	switch q.State {
	case "":
	case "firing":
		sql += ` AND NOT bool_or(kind = 'ok')`
	case "resolved":
		sql += ` AND bool_or(kind = 'ok')`
	default:
		return nil, fmt.Errorf("incidents: %q is not a state: use firing, resolved or none", q.State)
	}
	if q.After != nil {
		at := w.param(q.After.StartedAt.UnixNano())
		sql += ` AND (arg_min(started_at, number) < ` + at + ` OR arg_min(started_at, number) = ` + at + ` AND incident < ` + w.param(q.After.ID) + `)`
	}
	sql += ` ORDER BY started DESC, incident DESC`
	if q.Limit > 0 {
		sql += ` LIMIT ` + w.param(q.Limit)
	}
	sql += `) SELECT body, value, threshold FROM transitions JOIN wanted USING (incident) WHERE tenant = $1
		ORDER BY started DESC, incident DESC, number`
	var all []alert.Incident
	err := s.readUrgent(ctx, func(c *conn) error {
		r, err := c.query(ctx, sql, w.args...)
		if err != nil {
			return err
		}
		defer r.close()
		for r.next() {
			for i := range r.rows {
				t, err := r.transition(0, i)
				if err != nil {
					return err
				}
				all = store.ApplyTransition(all, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
