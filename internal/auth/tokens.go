package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Tokens gives access tokens for API keys (RFC 6749, client credentials) and reads them (RFC 9068). A token is good for an hour, and never longer than
// its key: that is looked for at each use, so revoking the key ends its tokens with it.
type Tokens struct {
	signing *Signing
	catalog TokenStore
	issuer  string // "" takes any of ours: then each request's host makes one
	foreign *Foreign
}

// TokenStore is what Tokens needs of the catalog.
type TokenStore interface {
	SigningStore
	Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error)
}

// NewTokens makes Tokens. Issuer is the public address of the installation, "" if it has none; foreign reads the tokens of tenants' own issuers, nil for none.
func NewTokens(catalog TokenStore, signing *Signing, issuer string, foreign *Foreign) *Tokens {
	return &Tokens{signing: signing, catalog: catalog, issuer: strings.TrimRight(issuer, "/"), foreign: foreign}
}

// TokenLifetime is how long an access token is good.
const TokenLifetime = time.Hour

const (
	tokenType = "at+jwt"
	clockSkew = 30 * time.Second
)

// claims of an access token.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Client   string `json:"client_id"`
	Tenant   string `json:"tenant_id"`
	Scope    string `json:"scope"`
	ID       string `json:"jti"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Before   int64  `json:"nbf"`
}

// ErrBadScope means: a token was asked for that may do more than its key.
var ErrBadScope = errors.New("the scope has something that the client may not do, or that does not exist")

// AccessToken is what was given.
type AccessToken struct {
	Token   string
	Expires time.Duration
	Scope   string
}

// Give gives the client that shows its id and secret an access token, for as much of what it may do as it asks for: an empty scope asks for
// all. Base is the address that the request came to.
func (k *Tokens) Give(ctx context.Context, clientID, secret, scope, base string, now time.Time) (AccessToken, error) {
	full := JoinKey(clientID, secret)
	if strings.HasPrefix(secret, "ps_") { // somebody has put the whole key there
		full = secret
	}
	id, ok := KeyID(full)
	if !ok || clientID != id || mistyped(full) {
		return AccessToken{}, ErrBadCredentials
	}
	r, err := k.catalog.Find(ctx, store.KindKey, Lookup(full))
	if errors.Is(err, store.ErrNotFound) {
		return AccessToken{}, ErrBadCredentials
	}
	if err != nil {
		return AccessToken{}, fmt.Errorf("cannot authenticate: %w", err)
	}
	p, expires, err := principalOf(&r, now)
	if err != nil {
		return AccessToken{}, err
	}
	asked, err := ParseScope(scope)
	if err != nil {
		return AccessToken{}, ErrBadScope
	}
	p, ok = p.Within(asked)
	if !ok {
		return AccessToken{}, ErrBadScope
	}
	return k.sign(ctx, p, id, strings.TrimRight(base, "/"), now, expires)
}

func (k *Tokens) sign(ctx context.Context, p Principal, client, base string, now, keyExpires time.Time) (AccessToken, error) {
	issuer := k.issuer
	if issuer == "" {
		issuer = base
	}
	until := now.Add(TokenLifetime)
	if !keyExpires.IsZero() && keyExpires.Before(until) {
		until = keyExpires
	}
	c := claims{Issuer: issuer, Subject: p.Subject, Audience: issuer, Client: client, Tenant: string(p.Tenant), Scope: ScopeText(p.Permissions()), ID: random(10),
		Issued: now.Unix(), Before: now.Unix(), Expires: until.Unix()}
	payload, err := json.Marshal(c)
	if err != nil {
		return AccessToken{}, err
	}
	token, err := k.signing.sign(ctx, tokenType, payload)
	return AccessToken{Token: token, Expires: until.Sub(now).Truncate(time.Second), Scope: c.Scope}, err
}

// principalOf is who a stored key speaks for and until when, ErrBadCredentials if it has expired.
func principalOf(r *store.Resource, now time.Time) (p Principal, expires time.Time, err error) {
	key, err := storedKey(r)
	if err != nil {
		return p, expires, err
	}
	if key.Expired(now) {
		return p, expires, ErrBadCredentials
	}
	if key.ExpiresAt != nil {
		expires = *key.ExpiresAt
	}
	p, err = key.principal(r.Tenant)
	return p, expires, err
}

// isToken tells a token from a key.
func isToken(bearer string) bool {
	return strings.HasPrefix(bearer, "ey") && strings.Count(bearer, ".") == 2
}

// Read returns who a token speaks for and until when. Everything that is wrong with it is ErrBadCredentials.
func (k *Tokens) Read(ctx context.Context, token string, now time.Time) (p Principal, expires time.Time, err error) {
	set, err := k.signing.set(ctx)
	if err != nil {
		return p, expires, fmt.Errorf("cannot authenticate: %w", err)
	}
	h, payload, err := set.verify(token)
	if err != nil && k.foreign != nil {
		return k.foreign.read(ctx, token, now)
	}
	if err != nil {
		return p, expires, ErrBadCredentials
	}
	var c claims
	if !h.isAccessToken() || json.Unmarshal(payload, &c) != nil || !k.good(&c, now) {
		return p, expires, ErrBadCredentials
	}
	r, err := k.catalog.Get(ctx, tenant.ID(c.Tenant), store.KindKey, c.Client)
	if errors.Is(err, store.ErrNotFound) {
		return p, expires, ErrBadCredentials // revoked
	}
	if err != nil {
		return p, expires, fmt.Errorf("cannot authenticate: %w", err)
	}
	p, expires, err = principalOf(&r, now)
	if err != nil {
		return Principal{}, expires, err
	}
	if until := time.Unix(c.Expires, 0); expires.IsZero() || until.Before(expires) {
		expires = until
	}
	return p.held(c.Scope), expires, nil
}

// held is p held to what a token was given for and it may still do. Of what no longer exists nothing is left.
func (p Principal) held(scope string) Principal {
	var left []Permission
	for word := range strings.FieldsSeq(scope) {
		if what := Permission(word); p.Can(what) {
			left = append(left, what)
		}
	}
	if len(left) == 0 {
		return Principal{Tenant: p.Tenant, Subject: p.Subject, Name: p.Name}
	}
	p.Scope, _ = NewScope(left) // of permissions that exist
	return p
}

// good says whether the claims are those of a token for this installation, now.
func (k *Tokens) good(c *claims, now time.Time) bool {
	issuer := k.issuer
	if issuer == "" {
		issuer = c.Issuer // it was signed here, whatever this server was called by who asked for it
	}
	return issuer != "" && c.Issuer == issuer && c.Audience == issuer && c.Tenant != "" && c.Client != "" && c.Subject == keySubject(c.Client) &&
		now.Before(time.Unix(c.Expires, 0)) && !now.Add(clockSkew).Before(time.Unix(max(c.Before, c.Issued), 0))
}

// ScopeNames are the permissions that a token can be asked for.
func ScopeNames() []string {
	var out []string
	for i := range permissions {
		out = append(out, string(permissions[i].Permission))
	}
	return slices.Clip(out)
}
