package duckdb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Partition implements store.Events: what is in the tables, and what commits have brought that is not in them.
func (s *Store) Partition(ctx context.Context, partition int) (store.PartitionState, error) {
	var p store.PartitionState
	err := s.read(ctx, func(c *conn) error {
		var young recentPart
		err := s.begin(ctx, c, func(r *recent) {
			if o, ok := r.offsets[partition]; ok {
				p.Offset = o
			}
			if part := r.parts[partition]; part != nil {
				young.fills, young.states = append(young.fills, part.fills...), append(young.states, part.states...)
			}
			for _, m := range r.urgent {
				if m.Partition == partition {
					young.urgent = append(young.urgent, m)
				}
			}
		})
		if err != nil {
			return err
		}
		if err := c.partition(ctx, partition, &p); err != nil {
			return err
		}
		young.over(&p)
		err = c.exec(`ROLLBACK`)
		return err
	})
	if err != nil {
		return store.PartitionState{}, err
	}
	return p, nil
}

// begin begins a transaction, whose snapshot is that of its first query, and shows what is not in it, oldest first.
func (s *Store) begin(ctx context.Context, c *conn, show func(*recent)) error {
	s.mem.handover.RLock()
	defer s.mem.handover.RUnlock()
	if err := c.exec(`BEGIN`); err != nil {
		return err
	}
	flushed, err := c.number(ctx, `SELECT number FROM flushed`)
	if err != nil {
		return err
	}
	s.mem.mu.Lock()
	defer s.mem.mu.Unlock()
	for _, r := range s.mem.recents(flushed) {
		show(r)
	}
	return nil
}

// partition reads what is in the tables, but for an offset that is known already.
func (c *conn) partition(ctx context.Context, partition int, p *store.PartitionState) error {
	var err error
	if p.Offset == (store.Offset{}) {
		if p.Offset, _, err = c.offset(ctx, partition); err != nil {
			return err
		}
	}
	if p.Fills, err = c.fills(ctx, partition); err != nil {
		return err
	}
	if p.States, err = c.states(ctx, partition); err != nil {
		return err
	}
	p.Quarantined, err = c.quarantined(ctx, partition)
	return err
}

// over lays what is young over what is in the tables.
func (y *recentPart) over(p *store.PartitionState) {
	if len(y.fills) > 0 {
		all := append(p.Fills, y.fills...)
		p.Fills = nil
		for _, f := range lastOfEach(all, fillKeyOf) {
			p.Fills = append(p.Fills, *f)
		}
		slices.SortFunc(p.Fills, func(a, b store.Fill) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Metric, b.Metric))
		})
	}
	if len(y.states) > 0 {
		p.States = slices.DeleteFunc(alert.Latest(append(p.States, y.states...)), func(s alert.State) bool { return s.Phase == alert.PhaseOK })
	}
	for _, m := range y.urgent {
		p.Quarantined = slices.DeleteFunc(p.Quarantined, func(k store.QuarantineKey) bool { return slices.Contains(m.Released, k) })
		for i := range m.Quarantine {
			if k := m.Quarantine[i].QuarantineKey; !slices.Contains(m.Released, k) && !slices.Contains(p.Quarantined, k) {
				p.Quarantined = append(p.Quarantined, k)
			}
		}
	}
}

type fillKey struct {
	tenant tenant.ID
	metric int64
}

func fillKeyOf(f *store.Fill) fillKey { return fillKey{f.Tenant, f.Metric} }

// lastOfEach keeps the last item of each key, in the order of items: within one commit, too, the last one holds.
func lastOfEach[T any, K comparable](items []T, key func(*T) K) []*T {
	place := make(map[K]int, len(items))
	kept := make([]*T, 0, len(items))
	for i := range items {
		k := key(&items[i])
		if at, ok := place[k]; ok {
			kept[at] = &items[i]
			continue
		}
		place[k] = len(kept)
		kept = append(kept, &items[i])
	}
	return kept
}

// replaceFills stages the new rows in the table itself, told by their gen, and then removes those that they replace.
func (c *conn) replaceFills(fills []store.Fill, gen int64) error {
	if len(fills) == 0 {
		return nil
	}
	rows := lastOfEach(fills, fillKeyOf)
	err := c.appendRows("fills", len(rows), func(f *filling, from, to int) {
		for i, fill := range rows[from:to] {
			f.int32(0, i, part(fill.Partition))
			f.string(1, i, string(fill.Tenant))
			f.int64(2, i, fill.Metric)
			f.uint64(3, i, fill.Upto.Seq)
			f.uint32(4, i, fill.Upto.Index)
			f.uint64(5, i, fill.Done.Seq)
			f.uint32(6, i, fill.Done.Index)
			f.bool(7, i, fill.Complete)
			f.time(8, i, fill.UpdatedAt)
			f.int64(9, i, gen)
		}
	})
	if err != nil {
		return err
	}
	err = c.exec(`DELETE FROM fills old USING fills new
		WHERE new.gen = $1 AND old.gen < $1 AND old.tenant = new.tenant AND old.metric = new.metric`, gen)
	return err
}

func (c *conn) fills(ctx context.Context, partition int) ([]store.Fill, error) {
	r, err := c.query(ctx, `SELECT tenant, metric, upto_seq, upto_idx, done_seq, done_idx, complete, updated_at
		FROM fills WHERE "partition" = $1 ORDER BY tenant, metric`, part(partition))
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []store.Fill
	for r.next() {
		for i := range r.rows {
			all = append(all, store.Fill{
				Tenant: tenant.ID(r.string(0, i)), Partition: partition, Metric: r.int64(1, i),
				Upto:     event.Position{Seq: r.uint64(2, i), Index: r.uint32(3, i)},
				Done:     event.Position{Seq: r.uint64(4, i), Index: r.uint32(5, i)},
				Complete: r.bool(6, i), UpdatedAt: r.time(7, i),
			})
		}
	}
	return all, nil
}

func (c *conn) replaceStates(partition int, states []alert.State, gen int64) error {
	if len(states) == 0 {
		return nil
	}
	type key struct {
		t     tenant.ID
		rule  int64
		group string
	}
	rows := lastOfEach(states, func(s *alert.State) key { return key{s.Tenant, s.RuleID, s.Group} })
	err := c.appendRows("rule_states", len(rows), func(f *filling, from, to int) {
		for i, st := range rows[from:to] {
			labels, err := json.Marshal(st.Labels)
			if err != nil && f.err == nil {
				f.err = fmt.Errorf("labels of the state of rule %d: %w: %w", st.RuleID, store.ErrRefused, err)
			}
			f.int32(0, i, part(partition))
			f.string(1, i, string(st.Tenant))
			f.int64(2, i, st.RuleID)
			f.blob(3, i, []byte(st.Group))
			f.string(4, i, string(labels))
			f.string(5, i, string(st.Phase))
			f.time(6, i, st.Since)
			f.string(7, i, st.Incident)
			f.float64(8, i, st.Value)
			if st.Opened == nil {
				f.null(9, i)
			} else {
				f.string(9, i, string(f.transition(st.Opened)))
			}
			f.int64(10, i, gen)
		}
	})
	if err != nil {
		return err
	}
	err = c.exec(`DELETE FROM rule_states old USING rule_states new
		WHERE new.gen = $1 AND old.gen < $1 AND old.tenant = new.tenant AND old.rule_id = new.rule_id AND old."group" = new."group"`, gen)
	if err != nil {
		return err
	}
	err = c.exec(`DELETE FROM rule_states WHERE gen = $1 AND phase = $2`, gen, string(alert.PhaseOK))
	return err
}

func (c *conn) states(ctx context.Context, partition int) ([]alert.State, error) {
	r, err := c.query(ctx, `SELECT tenant, rule_id, "group", labels, phase, since, incident, value, opened
		FROM rule_states WHERE "partition" = $1 ORDER BY tenant, rule_id, "group"`, part(partition))
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []alert.State
	for r.next() {
		for i := range r.rows {
			st := alert.State{
				Tenant: tenant.ID(r.string(0, i)), RuleID: r.int64(1, i), Group: r.string(2, i), Phase: alert.Phase(r.string(4, i)),
				Since: r.time(5, i), Incident: r.string(6, i), Value: r.float64(7, i),
			}
			if err := json.Unmarshal(r.view(3, i), &st.Labels); err != nil {
				return nil, fmt.Errorf("labels of the state of rule %d: %w", st.RuleID, err)
			}
			if !r.null(8, i) {
				if err := json.Unmarshal(r.view(8, i), &st.Opened); err != nil {
					return nil, fmt.Errorf("incident of the state of rule %d: %w", st.RuleID, err)
				}
			}
			all = append(all, st)
		}
	}
	return all, nil
}
