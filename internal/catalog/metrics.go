package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// metricOf gives a stored definition what the resource around it knows.
func metricOf(e Entry[metric.Definition]) Entry[metric.Definition] {
	d := &e.Value
	d.ID, d.Tenant, d.Slug, d.CreatedAt, d.UpdatedAt = e.ID, e.Tenant, e.Slug, e.CreatedAt, e.UpdatedAt
	return e
}

// Metric returns a metric or store.ErrNotFound; the built-in one too.
func (c *Catalog) Metric(ctx context.Context, t tenant.ID, slug string) (Entry[metric.Definition], error) {
	if slug == metric.EventsSlug {
		return c.builtin(ctx, t)
	}
	e, err := get[metric.Definition](ctx, c, t, store.KindMetric, slug)
	return metricOf(e), err
}

func (c *Catalog) builtin(ctx context.Context, t tenant.ID) (Entry[metric.Definition], error) {
	owner, err := c.Tenant(ctx, t)
	if err != nil {
		return Entry[metric.Definition]{}, err
	}
	d := metric.Events(t)
	d.CreatedAt, d.UpdatedAt = owner.CreatedAt, owner.CreatedAt
	return Entry[metric.Definition]{Value: d, Tenant: t, Slug: d.Slug, ID: d.ID, Revision: 1, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}, nil
}

// Metrics returns all of a tenant's metrics, the built-in one first.
func (c *Catalog) Metrics(ctx context.Context, t tenant.ID) ([]Entry[metric.Definition], error) {
	events, err := c.builtin(ctx, t)
	if err != nil {
		return nil, err
	}
	own, err := list[metric.Definition](ctx, c, t, store.KindMetric)
	if err != nil {
		return nil, err
	}
	out := append(make([]Entry[metric.Definition], 0, len(own)+1), events)
	for _, e := range own {
		out = append(out, metricOf(e))
	}
	return out, nil
}

// ErrBuiltin is returned for changes of what the program itself defines.
var ErrBuiltin = errors.New("it is built in and cannot be changed")

// PutMetric creates or changes a metric, which must have been compiled before. A change of what it computes gives it a
// new generation.
func (c *Catalog) PutMetric(ctx context.Context, d metric.Definition, when Condition) (e Entry[metric.Definition], created bool, err error) {
	if d.Slug == metric.EventsSlug {
		return e, false, fmt.Errorf("metric %q: %w", d.Slug, ErrBuiltin)
	}
	ch := change{tenant: d.Tenant, kind: store.KindMetric, slug: d.Slug, when: when}
	old, err := c.Metric(ctx, d.Tenant, d.Slug)
	switch {
	case errors.Is(err, store.ErrNotFound):
		created = true
	case err != nil:
		return e, false, err
	default:
		ch.fresh = !old.Value.SameComputation(&d)
		if d.Vendor == "" {
			d.Vendor = old.Value.Vendor
		}
	}
	e, err = put(ctx, c, ch, d)
	return metricOf(e), created, err
}

// DeleteMetric removes a metric. ErrInUse when a rule looks at it.
func (c *Catalog) DeleteMetric(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	if slug == metric.EventsSlug {
		return fmt.Errorf("metric %q: %w", slug, ErrBuiltin)
	}
	rules, err := c.Rules(ctx, t)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Value.Metric == slug {
			return &InUseError{Kind: "rule", Slug: r.Slug}
		}
	}
	return c.remove(ctx, t, store.KindMetric, slug, when)
}

// InUseError says what still needs the thing that was to be removed.
type InUseError struct {
	Kind string
	Slug string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("the %s %q uses it: change or delete that first", e.Kind, e.Slug)
}
