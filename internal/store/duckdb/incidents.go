package duckdb

import (
	"context"
	"encoding/json"
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

// transition encodes one. JSON has no infinity and no NaN, and none of them may stop a commit: what is beyond all numbers becomes the largest
// there is, what is no number 0.
func (f *filling) transition(t *alert.Transition) []byte {
	plain := *t
	plain.Value, plain.Worst, plain.Threshold = finite(t.Value), finite(t.Worst), finite(t.Threshold)
	text, err := json.Marshal(&plain)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("transition %s: %w: %w", t.ID, store.ErrRefused, err)
	}
	return text
}

func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return math.Max(-math.MaxFloat64, math.Min(math.MaxFloat64, v))
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
	var t alert.Transition
	if err := json.Unmarshal(r.view(col, row), &t); err != nil {
		return t, fmt.Errorf("stored transition: %w", err)
	}
	t.Value, t.Threshold = r.float64(col+1, row), r.float64(col+2, row)
	return t, nil
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
				all = apply(all, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// apply adds a transition to the last incident if it is that one's, else to a new one. What an incident says of itself is
// what its first transition said; the transition to ok adds when it ended.
func apply(all []alert.Incident, t alert.Transition) []alert.Incident {
	if len(all) == 0 || all[len(all)-1].ID != t.Incident {
		all = append(all, alert.Incident{
			Tenant: t.Tenant, ID: t.Incident, RuleID: t.RuleID, Rule: t.Rule, RuleName: t.RuleName, Metric: t.Metric, Labels: t.Labels,
			State: "firing", Severity: t.Severity, StartedAt: t.StartedAt, PendingAt: t.PendingAt, Value: t.Value,
			Threshold: t.Threshold, Summary: t.Summary, Explanation: t.Explanation, Channels: t.Channels,
		})
	}
	if t.Kind == alert.PhaseOK {
		i := &all[len(all)-1]
		i.State, i.ResolvedAt = "resolved", t.At
	}
	return all
}
