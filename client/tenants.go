package client

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Key is an API key. Secret, the key itself, is known only from the answer that made it.
type Key struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	Scopes    []string   `json:"scopes,omitempty"` // permissions that it is held to; none: all that its role may do
	Operator  bool       `json:"operator"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // nil: never
	RateLimit float64    `json:"rate_limit,omitempty"` // events a second, beside what the tenant may; 0: no limit of its own
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"last_used_at,omitempty"` // to the minute; nil: never
	Secret    string     `json:"secret"`
}

// MakeKey makes an API key of the tenant that the client's own key belongs to. Role is owner, admin, editor, viewer or ingest.
func (c *Client) MakeKey(ctx context.Context, name, role string) (Key, error) {
	return c.MakeKeyOf(ctx, NewKey{Name: name, Role: role})
}

// NewKey is a key to be made.
type NewKey struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	Scopes    []string   `json:"scopes,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RateLimit float64    `json:"rate_limit,omitempty"`
}

// MakeKeyOf is MakeKey with everything that can be said of a key.
func (c *Client) MakeKeyOf(ctx context.Context, n NewKey) (Key, error) {
	var k Key
	err := c.Do(ctx, http.MethodPost, "/v1/keys", nil, n, &k)
	return k, err
}

// RotateKey replaces a key by a new one that may do the same. The old one stays good for the overlap.
func (c *Client) RotateKey(ctx context.Context, id string, overlap time.Duration) (Key, error) {
	var k Key
	err := c.Do(ctx, http.MethodPost, "/v1/keys/"+segment(id)+"/rotate", nil, map[string]string{"overlap": overlap.String()}, &k)
	return k, err
}

// Token is an access token, good in the place of a key.
type Token struct {
	Token     string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"` // seconds
	Scope     string `json:"scope"`
}

// AccessToken gets an access token for an API key, ps_<id>_<secret>, for the permissions in scope: all that the key has when it is empty. The client needs
// no key of its own for that.
func (c *Client) AccessToken(ctx context.Context, key, scope string) (Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if scope != "" {
		form.Set("scope", scope)
	}
	id, secret, _ := strings.Cut(strings.TrimPrefix(key, "ps_"), "_")
	credentials := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + credentials}}
	var t Token
	err := c.Do(ctx, http.MethodPost, "/oauth/token", h, []byte(form.Encode()), &t)
	return t, err
}

// Keys lists the tenant's keys, without their secrets.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	return getList[Key](ctx, c, "/v1/keys")
}

// RevokeKey makes a key worthless.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/keys/"+segment(id), nil, nil, nil)
}

// Tenant is one customer of an installation.
type Tenant struct {
	ID            string `json:"id"`
	Name          string `json:"name,omitempty"`
	RetentionDays int    `json:"retention_days,omitempty"` // 0: the server's default
	// RateLimit is how many events a second the tenant may send on average, 0 for as many as it likes; nil: what the installation says.
	RateLimit *float64 `json:"rate_limit,omitempty"`
	Quotas    *Quotas  `json:"quotas,omitempty"`
	// ETag is the version that was read. PutTenant with it fails with 412 when there is a newer one by then.
	ETag string `json:"-"`
}

// Quotas are how much a tenant may use; nil is as much as it likes.
type Quotas struct {
	EventsPerMonth *int64 `json:"events_per_month,omitempty"` // of a calendar month, UTC
	BytesPerMonth  *int64 `json:"bytes_per_month,omitempty"`
	Series         *int64 `json:"series,omitempty"` // of all metrics together
	Rules          *int64 `json:"rules,omitempty"`
}

// PutTenant makes or changes a tenant; the client's key must be an operator's of the installation. When it makes one, it returns the
// tenant's first key, an owner's, else nil.
func (c *Client) PutTenant(ctx context.Context, t Tenant) (Tenant, *Key, error) {
	h := http.Header{}
	if t.ETag != "" {
		h.Set("If-Match", t.ETag)
	}
	var out struct {
		Tenant
		Key *Key `json:"key"`
	}
	answered, err := c.do(ctx, http.MethodPut, "/v1/admin/tenants/"+segment(t.ID), h, t, &out)
	out.ETag = answered.Get("ETag")
	return out.Tenant, out.Key, err
}

// Tenants lists all tenants of the installation, for its operator.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	return getList[Tenant](ctx, c, "/v1/admin/tenants")
}

// MakeTenantKey makes an API key of another tenant, for the operator.
func (c *Client) MakeTenantKey(ctx context.Context, tenant, name, role string) (Key, error) {
	var k Key
	err := c.Do(ctx, http.MethodPost, "/v1/admin/tenants/"+segment(tenant)+"/keys", nil, map[string]string{"name": name, "role": role}, &k)
	return k, err
}
