package catalog

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// maxTokenIssuers bounds how many issuers a tenant has, and with them how many keys are fetched on its behalf.
const maxTokenIssuers = 20

// TokenIssuer returns an issuer of access tokens or store.ErrNotFound.
func (c *Catalog) TokenIssuer(ctx context.Context, t tenant.ID, slug string) (Entry[auth.TokenIssuer], error) {
	return get[auth.TokenIssuer](ctx, c, t, store.KindTokenIssuer, slug)
}

// TokenIssuers returns all issuers of a tenant, by slug.
func (c *Catalog) TokenIssuers(ctx context.Context, t tenant.ID) ([]Entry[auth.TokenIssuer], error) {
	return list[auth.TokenIssuer](ctx, c, t, store.KindTokenIssuer)
}

// PutTokenIssuer makes or changes an issuer that was checked. ErrFull when the tenant has as many as it may; a conflict when another of its issuers
// has the same address and audience: which one is meant by a token would be ambiguous.
func (c *Catalog) PutTokenIssuer(ctx context.Context, t tenant.ID, slug string, i auth.TokenIssuer, when Condition) (e Entry[auth.TokenIssuer], created bool, err error) {
	there, err := c.TokenIssuers(ctx, t)
	if err != nil {
		return e, false, err
	}
	created = true
	for _, other := range there {
		created = created && other.Slug != slug
	}
	if created && len(there) >= maxTokenIssuers {
		return e, false, ErrFull
	}
	e, err = put(ctx, c, change{tenant: t, kind: store.KindTokenIssuer, slug: slug, lookup: i.Lookup(), when: when}, i)
	return e, created, err
}

// DeleteTokenIssuer removes an issuer: its tokens are refused from then on.
func (c *Catalog) DeleteTokenIssuer(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	return c.remove(ctx, t, store.KindTokenIssuer, slug, when)
}
