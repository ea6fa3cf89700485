// Package catalog is the typed side of store.Catalog: the nouns that people configure, as Go values with the revision
// they have, and what is compiled from them.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Entry is a configured thing with what the catalog knows of it.
type Entry[T any] struct {
	Value     T
	Tenant    tenant.ID
	Slug      string
	ID        int64
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
	UsedAt    time.Time // zero: never, or nobody notes it
}

// Condition says under which circumstances a change may happen: 0 in any case, -1 only if there is none of that name yet, -2 only
// if there is one, else only at that revision.
type Condition int64

// The conditions that are not a revision.
const (
	Always    Condition = 0
	IfMissing Condition = -1
	IfPresent Condition = -2
)

// Catalog reads and writes configured things, and tells others when definitions have changed.
type Catalog struct {
	store    store.Catalog
	announce func(tenant.ID)
	now      func() time.Time
	tenants  memo[tenant.ID, tenant.Tenant]
	hooks    memo[string, Entry[Source]]
}

// New makes a Catalog over a store. Announce is called after each change of what definitions are compiled from.
func New(s store.Catalog, announce func(tenant.ID), now func() time.Time) *Catalog {
	return &Catalog{store: s, announce: announce, now: now}
}

func decode[T any](r *store.Resource) (Entry[T], error) {
	e := Entry[T]{Tenant: r.Tenant, Slug: r.Slug, ID: r.ID, Revision: r.Revision, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, UsedAt: r.UsedAt}
	if err := json.Unmarshal(r.Body, &e.Value); err != nil {
		return e, fmt.Errorf("the catalog's %s %q of tenant %s cannot be read: %w", r.Kind, r.Slug, r.Tenant, err)
	}
	return e, nil
}

func get[T any](ctx context.Context, c *Catalog, t tenant.ID, k store.Kind, slug string) (Entry[T], error) {
	r, err := c.store.Get(ctx, t, k, slug)
	if err != nil {
		return Entry[T]{}, err
	}
	return decode[T](&r)
}

func list[T any](ctx context.Context, c *Catalog, t tenant.ID, k store.Kind) ([]Entry[T], error) {
	rs, err := c.store.List(ctx, t, k)
	if err != nil {
		return nil, err
	}
	out := make([]Entry[T], 0, len(rs))
	for i := range rs {
		e, err := decode[T](&rs[i])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

type change struct {
	tenant tenant.ID
	kind   store.Kind
	slug   string
	lookup string
	fresh  bool
	when   Condition
}

func put[T any](ctx context.Context, c *Catalog, ch change, v T) (Entry[T], error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Entry[T]{}, fmt.Errorf("encode %s %q: %w", ch.kind, ch.slug, err)
	}
	if ch.when == IfPresent {
		switch _, err := c.store.Get(ctx, ch.tenant, ch.kind, ch.slug); {
		case errors.Is(err, store.ErrNotFound):
			return Entry[T]{}, store.ErrConflict
		case err != nil:
			return Entry[T]{}, err
		}
		ch.when = Always
	}
	r, err := c.store.Put(ctx, store.Put{Tenant: ch.tenant, Kind: ch.kind, Slug: ch.slug, Lookup: ch.lookup, Body: body,
		IfRevision: int64(ch.when), Fresh: ch.fresh, At: c.now().UTC()})
	if err != nil {
		return Entry[T]{}, err
	}
	c.changed(ch.tenant, ch.kind)
	return decode[T](&r)
}

func (c *Catalog) remove(ctx context.Context, t tenant.ID, k store.Kind, slug string, when Condition) error {
	if when == IfPresent {
		when = Always // what is not there is not found
	}
	if err := c.store.Delete(ctx, store.Delete{Tenant: t, Kind: k, Slug: slug, IfRevision: int64(when)}); err != nil {
		return err
	}
	c.changed(t, k)
	return nil
}

func (c *Catalog) changed(t tenant.ID, k store.Kind) {
	if slices.Contains(definitionKinds(), k) {
		c.announce(t)
	}
}

// Tenant returns a tenant or store.ErrNotFound.
func (c *Catalog) Tenant(ctx context.Context, id tenant.ID) (tenant.Tenant, error) {
	return c.tenants.get(ctx, c.store, id, func() (tenant.Tenant, error) {
		e, err := get[tenant.Tenant](ctx, c, id, store.KindTenant, string(id))
		e.Value.ID, e.Value.CreatedAt = id, e.CreatedAt
		return e.Value, err
	})
}

// Tenants returns all tenants, by id.
func (c *Catalog) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	es, err := c.TenantEntries(ctx)
	out := make([]tenant.Tenant, 0, len(es))
	for _, e := range es {
		out = append(out, e.Value)
	}
	return out, err
}

// TenantEntries is Tenants with revisions.
func (c *Catalog) TenantEntries(ctx context.Context) ([]Entry[tenant.Tenant], error) {
	es, err := list[tenant.Tenant](ctx, c, "", store.KindTenant)
	for i := range es {
		es[i] = tenantOf(es[i])
	}
	return es, err
}

// TenantEntry returns a tenant with its revision, or store.ErrNotFound.
func (c *Catalog) TenantEntry(ctx context.Context, id tenant.ID) (Entry[tenant.Tenant], error) {
	e, err := get[tenant.Tenant](ctx, c, id, store.KindTenant, string(id))
	return tenantOf(e), err
}

// PutTenant makes or changes a tenant. It is at work at once, without a restart: its partition of the log follows from its id.
func (c *Catalog) PutTenant(ctx context.Context, t tenant.Tenant, when Condition) (e Entry[tenant.Tenant], created bool, err error) {
	_, err = c.TenantEntry(ctx, t.ID)
	if created = isNotFound(err); err != nil && !created {
		return e, false, err
	}
	if created && when == Always {
		when = IfMissing // of two that make it at the same time, one does
	}
	e, err = put(ctx, c, change{tenant: t.ID, kind: store.KindTenant, slug: string(t.ID), when: when}, t)
	return tenantOf(e), created, err
}

func tenantOf(e Entry[tenant.Tenant]) Entry[tenant.Tenant] {
	e.Value.ID, e.Value.CreatedAt = e.Tenant, e.CreatedAt
	return e
}

// Revision moves on with each change of anything.
func (c *Catalog) Revision(ctx context.Context) (int64, error) { return c.store.Revision(ctx) }
