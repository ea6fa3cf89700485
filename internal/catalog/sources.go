package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Source is a vendor's webhook endpoint of a tenant.
type Source struct {
	Name   string `json:"name,omitempty"`
	Vendor string `json:"vendor"`
	// Secrets verify signatures; several while one is being replaced.
	Secrets []string `json:"secrets"`
	// Token is the secret part of the hook's URL.
	Token string `json:"token"`
}

// Source returns a source or store.ErrNotFound.
func (c *Catalog) Source(ctx context.Context, t tenant.ID, slug string) (Entry[Source], error) {
	return get[Source](ctx, c, t, store.KindSource, slug)
}

// Sources returns all sources of a tenant, by slug.
func (c *Catalog) Sources(ctx context.Context, t tenant.ID) ([]Entry[Source], error) {
	return list[Source](ctx, c, t, store.KindSource)
}

// Hook returns the source of whichever tenant has this token, or store.ErrNotFound.
func (c *Catalog) Hook(ctx context.Context, token string) (Entry[Source], error) {
	if token == "" {
		return Entry[Source]{}, store.ErrNotFound
	}
	return c.hooks.get(ctx, c.store, token, func() (Entry[Source], error) {
		r, err := c.store.Find(ctx, store.KindSource, token)
		if err != nil {
			return Entry[Source]{}, err
		}
		return decode[Source](&r)
	})
}

// PutSource creates or changes a source, keeping the token it has, and makes the vendor's standard metrics that the tenant does
// not have yet: they are there before the first event.
func (c *Catalog) PutSource(ctx context.Context, t tenant.ID, slug string, s Source, v *source.Vendor, when Condition) (e Entry[Source], created bool, err error) {
	old, err := c.Source(ctx, t, slug)
	switch {
	case errors.Is(err, store.ErrNotFound):
		created = true
		s.Token = rand.Text()
	case err != nil:
		return e, false, err
	default:
		s.Token = old.Value.Token
	}
	for _, d := range v.MetricsFor(t) {
		if _, _, err := c.PutMetric(ctx, d, IfMissing); err != nil && !errors.Is(err, store.ErrConflict) {
			return e, false, fmt.Errorf("make the standard metric %q: %w", d.Slug, err)
		}
	}
	e, err = put(ctx, c, change{tenant: t, kind: store.KindSource, slug: slug, lookup: s.Token, when: when}, s)
	return e, created, err
}

// DeleteSource removes a source: its URL is unknown from then on. Events and metrics stay.
func (c *Catalog) DeleteSource(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	return c.remove(ctx, t, store.KindSource, slug, when)
}
