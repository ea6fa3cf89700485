package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Member is a person in a tenant.
type Member struct {
	ID         string      `json:"id,omitempty"`
	Email      string      `json:"email,omitempty"`
	Name       string      `json:"name,omitempty"`
	Role       string      `json:"role,omitempty"`  // owner, admin, editor, viewer or ingest
	State      string      `json:"state,omitempty"` // invited, active or disabled
	Groups     []string    `json:"groups,omitempty"`
	Identities []Identity  `json:"identities,omitempty"`
	Password   bool        `json:"password,omitempty"` // there is one
	TOTP       bool        `json:"totp,omitempty"`     // codes of an authenticator app are asked for
	CreatedBy  string      `json:"created_by,omitempty"`
	CreatedAt  time.Time   `json:"created_at,omitzero"`
	LastSeenAt *time.Time  `json:"last_seen_at,omitempty"`
	Invitation *Invitation `json:"invitation,omitempty"` // in the answer that made it
	ETag       string      `json:"-"`
}

// Identity is who a member is at an identity provider.
type Identity struct {
	Provider string `json:"provider"`
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
}

// Invitation lets its holder set a member's password, once.
type Invitation struct {
	Token     string    `json:"token"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Invite makes a member. The answer has the invitation.
func (c *Client) Invite(ctx context.Context, email, name, role string) (Member, error) {
	var m Member
	err := c.Do(ctx, http.MethodPost, "/v1/members", nil, map[string]string{"email": email, "name": name, "role": role}, &m)
	return m, err
}

// Reinvite gives a member a new invitation; with resetTOTP whoever accepts it needs no code.
func (c *Client) Reinvite(ctx context.Context, id string, resetTOTP bool) (Invitation, error) {
	var i Invitation
	err := c.Do(ctx, http.MethodPost, "/v1/members/"+segment(id)+"/invitation", nil, map[string]bool{"reset_totp": resetTOTP}, &i)
	return i, err
}

// Members lists the tenant's members.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return getList[Member](ctx, c, "/v1/members")
}

// Member returns one.
func (c *Client) Member(ctx context.Context, id string) (Member, error) {
	var m Member
	h, err := c.do(ctx, http.MethodGet, "/v1/members/"+segment(id), nil, nil, &m)
	m.ETag = h.Get("ETag")
	return m, err
}

// ChangeMember changes e-mail, name, role and state of a member; what is empty stays. With an ETag it fails with 412 if there is a newer version.
func (c *Client) ChangeMember(ctx context.Context, m Member) (Member, error) {
	h := http.Header{}
	if m.ETag != "" {
		h.Set("If-Match", m.ETag)
	}
	var out Member
	answered, err := c.do(ctx, http.MethodPut, "/v1/members/"+segment(m.ID), h, Member{Email: m.Email, Name: m.Name, Role: m.Role, State: m.State}, &out)
	out.ETag = answered.Get("ETag")
	return out, err
}

// RemoveMember removes a member and signs them out.
func (c *Client) RemoveMember(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/members/"+segment(id), nil, nil, nil)
}

// Session is a member's, from signing in until it ends.
type Session struct {
	ID         string    `json:"id"`
	Member     string    `json:"member"`
	Name       string    `json:"name"`
	Method     string    `json:"method"` // password, oidc or saml
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Address    string    `json:"address"`
	UserAgent  string    `json:"user_agent"`
	Current    bool      `json:"current"`
}

// Sessions lists the sessions of a member, or of all members if that is "".
func (c *Client) Sessions(ctx context.Context, member string) ([]Session, error) {
	q := url.Values{"all": {"true"}}
	if member != "" {
		q = url.Values{"member": {member}}
	}
	return getList[Session](ctx, c, "/v1/sessions?"+q.Encode())
}

// EndSession ends a session.
func (c *Client) EndSession(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/sessions/"+segment(id), nil, nil, nil)
}

// EndSessions ends all sessions of a member.
func (c *Client) EndSessions(ctx context.Context, member string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/sessions?"+url.Values{"member": {member}}.Encode(), nil, nil, nil)
}

// Caller is who the client's key is.
type Caller struct {
	Tenant      string   `json:"tenant"`
	TenantName  string   `json:"tenant_name"`
	Subject     string   `json:"subject"`
	Name        string   `json:"name"`
	Role        string   `json:"role"`
	Permissions []string `json:"permissions"`
	Operator    bool     `json:"operator"`
	Method      string   `json:"method"`
}

// Caller says who the client's key is and what it may do.
func (c *Client) Caller(ctx context.Context) (Caller, error) {
	var w Caller
	err := c.Do(ctx, http.MethodGet, "/v1/session", nil, nil, &w)
	return w, err
}

// IdentityProvider is where members of a tenant come from. ClientSecret is only sent.
type IdentityProvider struct {
	Slug                 string            `json:"slug,omitempty"`
	Name                 string            `json:"name,omitempty"`
	Type                 string            `json:"type"` // oidc or saml
	Issuer               string            `json:"issuer,omitempty"`
	ClientID             string            `json:"client_id,omitempty"`
	ClientSecret         string            `json:"client_secret,omitempty"`
	Scopes               []string          `json:"scopes,omitempty"`
	GroupsClaim          string            `json:"groups_claim,omitempty"`
	RequireVerifiedEmail bool              `json:"require_verified_email,omitempty"`
	MetadataURL          string            `json:"metadata_url,omitempty"`
	MetadataXML          string            `json:"metadata_xml,omitempty"`
	GroupsAttribute      string            `json:"groups_attribute,omitempty"`
	Roles                map[string]string `json:"roles,omitempty"` // of groups
	DefaultRole          string            `json:"default_role,omitempty"`
	ETag                 string            `json:"-"`
}

// PutIdentityProvider makes or changes an identity provider.
func (c *Client) PutIdentityProvider(ctx context.Context, p IdentityProvider) (IdentityProvider, error) {
	h := http.Header{}
	if p.ETag != "" {
		h.Set("If-Match", p.ETag)
	}
	var out IdentityProvider
	answered, err := c.do(ctx, http.MethodPut, "/v1/identity-providers/"+segment(p.Slug), h, p, &out)
	out.ETag = answered.Get("ETag")
	return out, err
}

// IdentityProviders lists the tenant's identity providers.
func (c *Client) IdentityProviders(ctx context.Context) ([]IdentityProvider, error) {
	return getList[IdentityProvider](ctx, c, "/v1/identity-providers")
}

// DeleteIdentityProvider removes one, and ends the sessions that began by it.
func (c *Client) DeleteIdentityProvider(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/identity-providers/"+segment(slug), nil, nil, nil)
}
