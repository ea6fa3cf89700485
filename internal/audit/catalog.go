// Package audit writes down who has done what: it stands around the catalog, and whatever is changed through it is recorded in the same
// transaction, as it was before and as it is after, without secrets. What cannot be recorded does not happen.
//
// Each tenant has a chain of its own. What somebody does in a tenant that is not theirs, and each change of a tenant itself, is in the
// installation's chain too, and there it says who they are: the tenant is told of an operator.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Catalog is a catalog whose changes are recorded.
type Catalog struct {
	store.Catalog
	now func() time.Time
}

// Over records what is changed through the result. Whatever encrypts bodies belongs below it.
func Over(c store.Catalog, now func() time.Time) *Catalog { return &Catalog{Catalog: c, now: now} }

// Event is what is no change of a resource.
type Event struct {
	Action  string // e.g. "session.refuse"
	Kind    store.Kind
	Slug    string
	Details any // what there is to say besides; nothing secret
}

// Note records what is no change of a resource. Where it returns an error, what it is about should not happen.
func (c *Catalog) Note(ctx context.Context, t tenant.ID, e Event) error {
	details, err := json.Marshal(e.Details)
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	if e.Details == nil {
		details = nil
	}
	for _, r := range c.records(ctx, t, e.Kind, e.Slug, e.Action, nil, details) {
		if _, err := c.Trail().Append(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Put implements store.Catalog.
func (c *Catalog) Put(ctx context.Context, p store.Put) (r store.Resource, err error) {
	k := kindOf(p.Kind)
	if k.machine {
		return c.Catalog.Put(ctx, p)
	}
	err = c.change(ctx, p.Tenant, p.Kind, p.Slug, p.IfRevision, func(before *store.Resource, at int64) error {
		q := p
		q.IfRevision = at
		var was json.RawMessage
		if before != nil {
			was = before.Body
		}
		if !k.quiet(was, p.Body) {
			verb := k.changed
			if before == nil {
				verb = k.made
			}
			b, a := k.show(was, p.Body)
			q.Records = c.records(ctx, p.Tenant, k.target(p.Kind), p.Slug, k.action(p.Kind, verb, "put"), b, a)
		}
		r, err = c.Catalog.Put(ctx, q)
		return err
	})
	return r, err
}

// Delete implements store.Catalog.
func (c *Catalog) Delete(ctx context.Context, d store.Delete) error {
	k := kindOf(d.Kind)
	if k.machine {
		return c.Catalog.Delete(ctx, d)
	}
	return c.change(ctx, d.Tenant, d.Kind, d.Slug, d.IfRevision, func(before *store.Resource, at int64) error {
		if before == nil {
			return fmt.Errorf("delete %s %q: %w", d.Kind, d.Slug, store.ErrNotFound)
		}
		q := d
		q.IfRevision = at
		b, _ := k.show(before.Body, nil)
		q.Records = c.records(ctx, d.Tenant, k.target(d.Kind), d.Slug, k.action(d.Kind, k.removed, "delete"), b, nil)
		return c.Catalog.Delete(ctx, q)
	})
}

// change makes a change to what was there before, and only to that: where it was changed meanwhile, and the caller did not mind, it is tried
// again. At is the condition, as Put has it.
func (c *Catalog) change(ctx context.Context, t tenant.ID, k store.Kind, slug string, asked int64, try func(before *store.Resource, at int64) error) error {
	var conflict error
	for seen := int64(0); ; {
		before, at, err := c.before(ctx, t, k, slug)
		if err != nil {
			return err
		}
		if at == seen { // nobody has: the conflict is another one, such as a lookup that is taken
			return conflict
		}
		seen = at
		if asked != 0 && asked != at {
			at = asked // the store says how it does not hold
		}
		conflict = try(before, at)
		if asked != 0 || !errors.Is(conflict, store.ErrConflict) || ctx.Err() != nil {
			return conflict
		}
	}
}

// before is what there is, and the condition that it still is so.
func (c *Catalog) before(ctx context.Context, t tenant.ID, k store.Kind, slug string) (*store.Resource, int64, error) {
	r, err := c.Get(ctx, t, k, slug)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, -1, nil
	case err != nil:
		return nil, 0, err
	}
	return &r, r.Revision, nil
}

// records are what the chains are to say of it.
func (c *Catalog) records(ctx context.Context, t tenant.ID, k store.Kind, slug, action string, before, after json.RawMessage) []store.Record {
	a := actorOf(ctx)
	if named, ok := ctx.Value(actionKey{}).(string); ok {
		action = named
	}
	r := store.Record{Tenant: t, At: c.now().UTC(), Actor: a.shown(t), Action: action, Target: store.Target{Kind: k, Slug: slug}, RequestID: a.RequestID,
		Before: before, After: after}
	out := []store.Record{r}
	if t != store.Installation && (k == store.KindTenant || a.Tenant != "" && a.Tenant != t) {
		r.Tenant, r.Actor, r.Target.Tenant = store.Installation, a.shown(store.Installation), t
		out = append(out, r)
	}
	return out
}
