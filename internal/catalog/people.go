package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// maxMembers bounds the members of a tenant, and maxSessions the sessions of a member.
const (
	maxMembers  = 10_000
	maxSessions = 100
)

// Errors of members.
var (
	// ErrEmailTaken: two members of a tenant who sign in by the same e-mail could not be told apart.
	ErrEmailTaken = errors.New("there is a member with that e-mail already")
	// ErrIdentityTaken: an identity leads to one member.
	ErrIdentityTaken = errors.New("there is a member with that identity already")
)

// Member returns a member of a tenant or store.ErrNotFound.
func (c *Catalog) Member(ctx context.Context, t tenant.ID, id string) (Entry[auth.Member], error) {
	return get[auth.Member](ctx, c, t, store.KindMember, id)
}

// Members returns a tenant's members, by id.
func (c *Catalog) Members(ctx context.Context, t tenant.ID) ([]Entry[auth.Member], error) {
	return list[auth.Member](ctx, c, t, store.KindMember)
}

// MemberByEmail returns the member who signs in here with an e-mail, or store.ErrNotFound.
func (c *Catalog) MemberByEmail(ctx context.Context, t tenant.ID, email string) (Entry[auth.Member], error) {
	r, err := c.store.Find(ctx, store.KindMember, auth.MemberLookup(t, email))
	if err != nil {
		return Entry[auth.Member]{}, err
	}
	if r.Tenant != t {
		return Entry[auth.Member]{}, store.ErrNotFound
	}
	return decode[auth.Member](&r)
}

// MemberByIdentity returns the member of a tenant who has an identity, or store.ErrNotFound; an error if two have it.
func (c *Catalog) MemberByIdentity(ctx context.Context, t tenant.ID, i auth.Identity) (found Entry[auth.Member], err error) {
	all, err := c.Members(ctx, t)
	if err != nil {
		return found, err
	}
	for k := range all {
		if !all[k].Value.Has(i) {
			continue
		}
		if found.Slug != "" {
			return Entry[auth.Member]{}, fmt.Errorf("the members %s and %s of tenant %s have the same identity: remove one", found.Slug, all[k].Slug, t)
		}
		found = all[k]
	}
	if found.Slug == "" {
		err = store.ErrNotFound
	}
	return found, err
}

// PutMember makes or changes a member: ErrEmailTaken or ErrIdentityTaken if it could be mistaken for another, ErrFull if there are too many.
func (c *Catalog) PutMember(ctx context.Context, t tenant.ID, id string, m auth.Member, when Condition) (Entry[auth.Member], error) {
	if when == IfMissing || c.identityIsNew(ctx, t, id, &m) {
		all, err := c.Members(ctx, t)
		if err != nil {
			return Entry[auth.Member]{}, err
		}
		if when == IfMissing && len(all) >= maxMembers {
			return Entry[auth.Member]{}, fmt.Errorf("%w: a tenant has at most %d members", ErrFull, maxMembers)
		}
		for k := range all {
			for _, i := range m.Identities {
				if all[k].Slug != id && all[k].Value.Has(i) {
					return Entry[auth.Member]{}, ErrIdentityTaken
				}
			}
		}
	}
	ch := change{tenant: t, kind: store.KindMember, slug: id, when: when}
	if m.Local() {
		ch.lookup = auth.MemberLookup(t, m.Email)
		if other, err := c.MemberByEmail(ctx, t, m.Email); err == nil && other.Slug != id {
			return Entry[auth.Member]{}, ErrEmailTaken
		}
	}
	return put(ctx, c, ch, m)
}

// identityIsNew says whether a member gets an identity that they did not have.
func (c *Catalog) identityIsNew(ctx context.Context, t tenant.ID, id string, m *auth.Member) bool {
	if len(m.Identities) == 0 {
		return false
	}
	old, err := c.Member(ctx, t, id)
	if err != nil {
		return true
	}
	for _, i := range m.Identities {
		if !old.Value.Has(i) {
			return true
		}
	}
	return false
}

// DeleteMember removes a member. Their sessions are worth nothing from then on.
func (c *Catalog) DeleteMember(ctx context.Context, t tenant.ID, id string, when Condition) error {
	return c.remove(ctx, t, store.KindMember, id, when)
}

// Session returns a session or store.ErrNotFound.
func (c *Catalog) Session(ctx context.Context, t tenant.ID, id string) (Entry[auth.Session], error) {
	return get[auth.Session](ctx, c, t, store.KindSession, id)
}

// Sessions returns a tenant's sessions, by id.
func (c *Catalog) Sessions(ctx context.Context, t tenant.ID) ([]Entry[auth.Session], error) {
	return list[auth.Session](ctx, c, t, store.KindSession)
}

// PutSession begins a session that has a cookie.
func (c *Catalog) PutSession(ctx context.Context, t tenant.ID, id, cookie string, s auth.Session) (Entry[auth.Session], error) {
	return put(ctx, c, change{tenant: t, kind: store.KindSession, slug: id, lookup: auth.Lookup(cookie), when: IfMissing}, s)
}

// DeleteSession ends a session.
func (c *Catalog) DeleteSession(ctx context.Context, t tenant.ID, id string) error {
	return c.remove(ctx, t, store.KindSession, id, Always)
}

// Types of identity providers.
const (
	ProviderOIDC = "oidc"
	ProviderSAML = "saml"
)

// Provider is where members of one tenant come from.
type Provider struct {
	Name string `json:"name"`
	Type string `json:"type"`

	// Of OpenID Connect.
	Issuer      string   `json:"issuer,omitempty"`
	ClientID    string   `json:"client_id,omitempty"`
	Scopes      []string `json:"scopes,omitempty"` // besides openid
	GroupsClaim string   `json:"groups_claim,omitempty"`
	// RequireVerifiedEmail refuses those whose e-mail the provider has not verified.
	RequireVerifiedEmail bool `json:"require_verified_email,omitempty"`

	// Of SAML.
	MetadataURL     string `json:"metadata_url,omitempty"`
	MetadataXML     string `json:"metadata_xml,omitempty"`
	GroupsAttribute string `json:"groups_attribute,omitempty"`

	// Roles are those of groups. With any, the provider decides about roles at each sign-in.
	Roles       map[string]auth.Role `json:"roles,omitempty"`
	DefaultRole auth.Role            `json:"default_role,omitempty"` // without one, who has no mapped group is refused
	// Secrets are never shown.
	Secrets ProviderSecrets `json:"secrets,omitzero"`
}

// ProviderSecrets is what a provider knows us by.
type ProviderSecrets struct {
	ClientSecret string `json:"client_secret,omitempty"`
}

// RoleOf is the mightiest role that groups give, the default one if they give none, and "" if there is none.
func (p *Provider) RoleOf(groups []string) auth.Role {
	for _, r := range auth.Roles() {
		for _, g := range groups {
			if p.Roles[g] == r {
				return r
			}
		}
	}
	return p.DefaultRole
}

// Provider returns an identity provider of a tenant or store.ErrNotFound.
func (c *Catalog) Provider(ctx context.Context, t tenant.ID, slug string) (Entry[Provider], error) {
	return get[Provider](ctx, c, t, store.KindProvider, slug)
}

// Providers returns a tenant's identity providers, by slug.
func (c *Catalog) Providers(ctx context.Context, t tenant.ID) ([]Entry[Provider], error) {
	return list[Provider](ctx, c, t, store.KindProvider)
}

// PutProvider makes or changes an identity provider.
func (c *Catalog) PutProvider(ctx context.Context, t tenant.ID, slug string, p Provider, when Condition) (Entry[Provider], error) {
	return put(ctx, c, change{tenant: t, kind: store.KindProvider, slug: slug, when: when}, p)
}

// DeleteProvider removes an identity provider.
func (c *Catalog) DeleteProvider(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	return c.remove(ctx, t, store.KindProvider, slug, when)
}
