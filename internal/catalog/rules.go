package catalog

import (
	"context"
	"errors"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func ruleOf(e Entry[alert.Rule]) Entry[alert.Rule] {
	r := &e.Value
	r.ID, r.Tenant, r.Slug, r.CreatedAt, r.UpdatedAt = e.ID, e.Tenant, e.Slug, e.CreatedAt, e.UpdatedAt
	return e
}

// Rule returns a rule or store.ErrNotFound.
func (c *Catalog) Rule(ctx context.Context, t tenant.ID, slug string) (Entry[alert.Rule], error) {
	e, err := get[alert.Rule](ctx, c, t, store.KindRule, slug)
	return ruleOf(e), err
}

// Rules returns all rules of a tenant, by slug; of all tenants when t is empty.
func (c *Catalog) Rules(ctx context.Context, t tenant.ID) ([]Entry[alert.Rule], error) {
	es, err := list[alert.Rule](ctx, c, t, store.KindRule)
	for i := range es {
		es[i] = ruleOf(es[i])
	}
	return es, err
}

// PutRule creates or changes a rule, which must have been validated before. A change of what it computes gives it a new
// generation, so that its window is built anew.
func (c *Catalog) PutRule(ctx context.Context, r alert.Rule, when Condition) (e Entry[alert.Rule], created bool, err error) {
	ch := change{tenant: r.Tenant, kind: store.KindRule, slug: r.Slug, when: when}
	old, err := c.Rule(ctx, r.Tenant, r.Slug)
	switch {
	case errors.Is(err, store.ErrNotFound):
		created = true
	case err != nil:
		return e, false, err
	default:
		ch.fresh = !old.Value.SameComputation(&r)
	}
	e, err = put(ctx, c, ch, r)
	return ruleOf(e), created, err
}

// DeleteRule removes a rule; its incidents are resolved by the partition's owner.
func (c *Catalog) DeleteRule(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	return c.remove(ctx, t, store.KindRule, slug, when)
}
