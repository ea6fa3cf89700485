// Package oidc signs people in by OpenID Connect: the authorization code flow with PKCE, state and nonce (RFC 9700, OpenID Connect Core 1.0).
//
// What an identity provider says is believed only where it is signed: an ID token of exactly this issuer, for exactly this client, with the nonce of the
// browser's own attempt, by a key that the issuer publishes and an asymmetric algorithm. The provider is asked through the dial guard only.
package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/signin"
)

// Config is what is agreed with an identity provider.
type Config struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "" for a public client
	Scopes       []string
	GroupsClaim  string
	// Redirect is our address that the provider sends people back to.
	Redirect string
}

const (
	timeout = 10 * time.Second
	// metadataFor is how long a provider's metadata is believed. Its keys are fetched when an unknown one is named.
	metadataFor = time.Hour
	// failedFor is how long a provider is left alone that has not answered.
	failedFor = 10 * time.Second
	// maxKnown bounds the providers whose metadata is remembered.
	maxKnown = 1000
	// skew is how far clocks may differ.
	skew = 5 * time.Minute
)

// Client talks to identity providers.
type Client struct {
	http *http.Client
	now  func() time.Time

	mu    sync.Mutex
	known map[string]*issuer
}

// issuer is what is remembered of one.
type issuer struct {
	mu       sync.Mutex // held during a fetch: there is one at a time
	metadata *metadata
	tried    time.Time // when it was last asked
	err      error
}

type metadata struct {
	provider *oidc.Provider
	until    time.Time
	extra    extraMetadata
}

// extraMetadata is what go-oidc does not read.
type extraMetadata struct {
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Issues      bool     `json:"authorization_response_iss_parameter_supported"`
}

// New makes a Client that calls out through a guard.
func New(guard *egress.Guard, now func() time.Time) *Client {
	return &Client{http: guard.HTTPClient(timeout), now: now, known: map[string]*issuer{}}
}

// CheckIssuer says what is wrong with an issuer as a provider has it, or nil: https, or http on this machine, and nothing behind the path.
func CheckIssuer(issuer string) error { return checkURL(issuer, false) }

func checkURL(text string, query bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" && !query:
		return errors.New("write it as https://HOST/PATH")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it has to be https")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Discover gets a provider's metadata, and says what is wrong with it.
func (c *Client) Discover(ctx context.Context, issuer string) error {
	_, err := c.discover(ctx, issuer, true)
	return err
}

// discover is a provider's metadata. Again asks even if it has failed a moment ago.
func (c *Client) discover(ctx context.Context, name string, again bool) (*metadata, error) {
	i := c.issuer(name)
	i.mu.Lock()
	defer i.mu.Unlock()
	now := c.now()
	if i.metadata != nil && now.Before(i.metadata.until) {
		return i.metadata, nil
	}
	if !again && i.err != nil && now.Sub(i.tried) < failedFor {
		return nil, i.err
	}
	// What is remembered is what the provider has answered, not that whoever has asked went away.
	i.metadata, i.err = c.ask(context.WithoutCancel(ctx), name, now)
	i.tried = now
	return i.metadata, i.err
}

func (c *Client) issuer(name string) *issuer {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.known[name]
	if i == nil {
		if len(c.known) >= maxKnown {
			clear(c.known)
		}
		i = &issuer{}
		c.known[name] = i
	}
	return i
}

func (c *Client) ask(ctx context.Context, issuer string, now time.Time) (*metadata, error) {
	if err := CheckIssuer(issuer); err != nil {
		return nil, fmt.Errorf("the issuer %q: %w", issuer, err)
	}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, c.http), issuer)
	if err != nil {
		return nil, fmt.Errorf("the metadata of %s cannot be had: %w", issuer, plainly(err))
	}
	m := &metadata{provider: p, until: now.Add(metadataFor)}
	var keys struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := errors.Join(p.Claims(&m.extra), p.Claims(&keys)); err != nil {
		return nil, fmt.Errorf("read the metadata of %s: %w", issuer, err)
	}
	for name, at := range map[string]string{"authorization_endpoint": p.Endpoint().AuthURL, "token_endpoint": p.Endpoint().TokenURL, "jwks_uri": keys.JWKS,
		"userinfo_endpoint": cmp.Or(p.UserInfoEndpoint(), issuer)} {
		if err := checkURL(at, true); err != nil {
			return nil, fmt.Errorf("the metadata of %s: %s %q: %w", issuer, name, at, err)
		}
	}
	return m, nil
}

func (m *metadata) oauth(cfg Config) oauth2.Config {
	end := m.provider.Endpoint()
	// Not to be tried out: a code is good once.
	end.AuthStyle = oauth2.AuthStyleInHeader
	if cfg.ClientSecret == "" || len(m.extra.AuthMethods) > 0 && !slices.Contains(m.extra.AuthMethods, "client_secret_basic") {
		end.AuthStyle = oauth2.AuthStyleInParams
	}
	scopes := []string{oidc.ScopeOpenID}
	for _, s := range cfg.Scopes {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return oauth2.Config{ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret, Endpoint: end, RedirectURL: cfg.Redirect, Scopes: scopes}
}

// Begin is the address at the provider that a browser is sent to.
func (c *Client) Begin(ctx context.Context, cfg Config, a signin.Attempt) (string, error) {
	m, err := c.discover(ctx, cfg.Issuer, false)
	if err != nil {
		return "", err
	}
	o := m.oauth(cfg)
	return o.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

// ErrDenied means: the person, or the provider for them, said no.
var ErrDenied = errors.New("the identity provider has let nobody in")

// Finish is who has come back from a provider, with the answer in the address that it sent the browser to.
func (c *Client) Finish(ctx context.Context, cfg Config, a signin.Attempt, answer url.Values) (signin.Identity, error) {
	var nobody signin.Identity
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(answer[name]) > 1 {
			return nobody, fmt.Errorf("the answer has %s more than once", name)
		}
	}
	if !a.Matches(answer.Get("state")) {
		return nobody, errors.New("the answer is not for this browser's attempt")
	}
	m, err := c.discover(ctx, cfg.Issuer, false)
	if err != nil {
		return nobody, err
	}
	if iss := answer.Get("iss"); iss != cfg.Issuer && (iss != "" || m.extra.Issues) { // RFC 9207
		return nobody, fmt.Errorf("the answer is of the issuer %q", iss)
	}
	if answer.Get("error") != "" {
		return nobody, ErrDenied
	}
	ctx = oidc.ClientContext(ctx, c.http)
	o := m.oauth(cfg)
	token, err := o.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return nobody, fmt.Errorf("exchange the code: %w", withoutBody(err))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nobody, errors.New("the answer for the code has no ID token")
	}
	verified, err := c.verify(ctx, m, cfg, a, raw)
	if err != nil {
		return nobody, err
	}
	if verified.AccessTokenHash != "" {
		if err := verified.VerifyAccessToken(token.AccessToken); err != nil {
			return nobody, fmt.Errorf("the access token is not the ID token's: %w", err)
		}
	}
	return c.identity(ctx, m, cfg, verified, token)
}

// plainly leaves out what the address has answered, which may be no identity provider at all.
func plainly(err error) error {
	var failed *url.Error
	var mismatch *oidc.IssuerMismatchError
	switch {
	case errors.As(err, &failed), errors.As(err, &mismatch):
		return err
	}
	return errors.New("there is none at /.well-known/openid-configuration under that address")
}

// withoutBody leaves out what the provider has answered: it may have secrets in it, and goes to the log.
func withoutBody(err error) error {
	var bad *oauth2.RetrieveError
	if errors.As(err, &bad) {
		return fmt.Errorf("the provider has answered %d (%s)", bad.Response.StatusCode, cmp.Or(bad.ErrorCode, "no reason"))
	}
	return err
}

func (c *Client) verify(ctx context.Context, m *metadata, cfg Config, a signin.Attempt, raw string) (*oidc.IDToken, error) {
	verifier := m.provider.Verifier(&oidc.Config{ClientID: cfg.ClientID, Now: c.now, SupportedSigningAlgs: []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("the ID token: %w", err)
	}
	var party struct {
		Authorized string `json:"azp"`
	}
	if err := token.Claims(&party); err != nil {
		return nil, fmt.Errorf("the ID token: %w", err)
	}
	switch {
	case token.Nonce == "" || token.Nonce != a.Nonce:
		return nil, errors.New("the ID token is of another sign-in: the nonce is not this one's")
	case party.Authorized != "" && party.Authorized != cfg.ClientID, party.Authorized == "" && len(token.Audience) > 1:
		return nil, fmt.Errorf("the ID token was given to %q", party.Authorized)
	case token.IssuedAt.After(c.now().Add(skew)):
		return nil, errors.New("the ID token is of the future")
	case token.Subject == "":
		return nil, errors.New("the ID token says of nobody who they are")
	}
	return token, nil
}

// claims of an ID token or of the provider's answer about somebody.
type claims struct {
	Subject   string   `json:"sub"`
	Email     string   `json:"email"`
	Verified  verified `json:"email_verified"`
	Name      string   `json:"name"`
	Preferred string   `json:"preferred_username"`
}

// verified is true or "true": some providers write it as text.
type verified bool

// UnmarshalJSON reads either; anything else is no.
func (v *verified) UnmarshalJSON(b []byte) error {
	*v = string(b) == "true" || string(b) == `"true"`
	return nil
}

func (c *Client) identity(ctx context.Context, m *metadata, cfg Config, token *oidc.IDToken, access *oauth2.Token) (signin.Identity, error) {
	var said claims
	if err := token.Claims(&said); err != nil {
		return signin.Identity{}, fmt.Errorf("the ID token: %w", err)
	}
	groups, has := groupsOf(token.Claims, cfg.GroupsClaim)
	who := signin.Identity{Issuer: token.Issuer, Subject: token.Subject, Email: said.Email, EmailVerified: bool(said.Verified),
		Name: cmp.Or(said.Name, said.Preferred), Groups: groups}
	if has && who.Email != "" && who.Name != "" || m.provider.UserInfoEndpoint() == "" {
		return who, nil
	}
	info, err := m.provider.UserInfo(ctx, oauth2.StaticTokenSource(access))
	if err != nil {
		var failed *url.Error
		if !errors.As(err, &failed) { // else what was answered is in it
			err = errors.New("the userinfo endpoint has not answered as it should")
		}
		return signin.Identity{}, fmt.Errorf("ask the provider about somebody: %w", err)
	}
	if info.Subject != token.Subject { // OpenID Connect Core, section 5.3.2
		return signin.Identity{}, errors.New("the provider has answered about somebody else")
	}
	said = claims{}
	if err := info.Claims(&said); err != nil {
		return signin.Identity{}, fmt.Errorf("the provider's answer about somebody: %w", err)
	}
	if who.Email == "" {
		who.Email, who.EmailVerified = said.Email, bool(said.Verified)
	}
	who.Name = cmp.Or(who.Name, said.Name, said.Preferred)
	if !has {
		who.Groups, _ = groupsOf(info.Claims, cfg.GroupsClaim)
	}
	return who, nil
}

// groupsOf reads the claim that has the groups: a list of texts, or one. A name with dots leads through objects, where no claim has it as it is.
func groupsOf(claims func(any) error, name string) (groups []string, has bool) {
	var all map[string]json.RawMessage
	if name == "" || claims(&all) != nil {
		return nil, name == ""
	}
	raw, ok := all[name]
	for rest := name; !ok; {
		first, more, dotted := strings.Cut(rest, ".")
		if !dotted {
			return nil, false
		}
		inner := map[string]json.RawMessage{}
		if json.Unmarshal(all[first], &inner) != nil {
			return nil, false
		}
		all, rest = inner, more
		raw, ok = all[rest]
	}
	var one string
	if json.Unmarshal(raw, &groups) == nil {
		return groups, true
	}
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, true
	}
	return nil, true
}
