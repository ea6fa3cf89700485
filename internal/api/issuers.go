package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

type issuerInput struct {
	Slug       string            `json:"slug,omitempty" maxLength:"63"`
	Name       string            `json:"name,omitempty" maxLength:"200"`
	Issuer     string            `json:"issuer" minLength:"1" maxLength:"512" doc:"The iss of its tokens, letter for letter." example:"https://login.example.com/"`
	JWKSURL    string            `json:"jwks_url,omitempty" maxLength:"512" doc:"Where its keys are; when missing, what the issuer says of itself is asked (OpenID Connect Discovery, RFC 8414)."`
	Audience   string            `json:"audience,omitempty" maxLength:"512" doc:"One of the aud of its tokens. It ends in the tenant's id after a colon or a slash; urn:pulsestream:<tenant> when missing." example:"urn:pulsestream:default"`
	Algorithms []string          `json:"algorithms,omitempty" maxItems:"10" doc:"What its tokens may be signed with: ES256 and RS256 when missing. A key that names no algorithm is for the first of these that fits it." example:"[\"RS256\"]"`
	Role       auth.Role         `json:"role" enum:"owner,admin,editor,viewer,ingest" doc:"What its tokens may do."`
	Scopes     []auth.Permission `json:"scopes,omitempty" maxItems:"64" doc:"Permissions that all its tokens are held to, of those that the role has; all of them when missing. A token with a scope is held to that too."`
	Subject    string            `json:"subject,omitempty" maxLength:"255" doc:"The only sub whose tokens are taken; any when missing."`
}

type issuerView struct {
	Slug       string                    `json:"slug"`
	Name       string                    `json:"name"`
	Issuer     string                    `json:"issuer"`
	JWKSURL    string                    `json:"jwks_url,omitempty"`
	Audience   string                    `json:"audience"`
	Algorithms []jose.SignatureAlgorithm `json:"algorithms"`
	Role       auth.Role                 `json:"role"`
	Scopes     []auth.Permission         `json:"scopes,omitempty"`
	Subject    string                    `json:"subject,omitempty"`
	CreatedAt  time.Time                 `json:"created_at"`
	UpdatedAt  time.Time                 `json:"updated_at"`
}

func viewIssuer(e *catalog.Entry[auth.TokenIssuer]) (issuerView, error) {
	i := &e.Value
	v := issuerView{Slug: e.Slug, Name: i.Name, Issuer: i.Issuer, JWKSURL: i.JWKSURL, Audience: i.Audience, Algorithms: i.Algorithms, Role: i.Role, Scopes: i.Scopes,
		Subject: i.Subject, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
	if v.Name == "" {
		v.Name = e.Slug
	}
	return v, nil
}

func (a *api) tokenIssuerRoutes() {
	const tag = "Token issuers"
	register(a, operation{method: http.MethodGet, path: "/v1/token-issuers", id: "list-token-issuers", tag: tag, permission: auth.IdentityRead, summary: "All issuers whose access tokens the tenant takes"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[issuerView]], error) {
			entries, err := a.Catalog.TokenIssuers(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			return listOf(entries, viewIssuer)
		})
	register(a, operation{method: http.MethodGet, path: "/v1/token-issuers/{slug}", id: "get-token-issuer", tag: tag, permission: auth.IdentityRead,
		summary: "One issuer of access tokens", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *SlugPath) (*versioned[issuerView], error) {
			e, err := a.Catalog.TokenIssuer(ctx, p.Tenant, in.Slug)
			if err != nil {
				return nil, err
			}
			v, err := viewIssuer(&e)
			return withETag(e.Revision, false, v), err
		})
	register(a, operation{method: http.MethodPut, path: "/v1/token-issuers/{slug}", id: "put-token-issuer", tag: tag, permission: auth.IdentityWrite,
		summary: "Take access tokens of an issuer of one's own",
		description: "Its tokens are JWTs by RFC 9068 (`typ` `at+jwt`) that have `audience` among their `aud`; they go where an API key goes. Its keys are fetched before anything is saved, and again every few minutes. " +
			"Nobody can let tokens do more than they may themselves. WebSockets of its tokens end when it is changed or removed.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed}}, a.putIssuer)
	register(a, operation{method: http.MethodDelete, path: "/v1/token-issuers/{slug}", id: "delete-token-issuer", tag: tag, permission: auth.IdentityWrite, status: http.StatusNoContent,
		summary: "Take its tokens no more, from now on", errors: []int{http.StatusNotFound, http.StatusPreconditionFailed}},
		func(ctx context.Context, p auth.Principal, in *struct {
			SlugPath
			Conditional
		}) (*struct{}, error) {
			when, err := in.condition()
			if err == nil {
				err = a.mayChangeIssuer(ctx, p, in.Slug)
			}
			if err != nil {
				return nil, err
			}
			return nil, in.stale(a.Catalog.DeleteTokenIssuer(ctx, p.Tenant, in.Slug, when))
		})
}

func (a *api) putIssuer(ctx context.Context, p auth.Principal, in *struct {
	SlugPath
	Conditional
	Body issuerInput
}) (*versioned[issuerView], error) {
	when, err := in.begin(in.Slug, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	b := &in.Body
	issuer := auth.TokenIssuer{Name: b.Name, Issuer: b.Issuer, JWKSURL: b.JWKSURL, Audience: b.Audience, Role: b.Role, Scopes: b.Scopes, Subject: b.Subject}
	for _, algorithm := range b.Algorithms {
		issuer.Algorithms = append(issuer.Algorithms, jose.SignatureAlgorithm(algorithm))
	}
	if err := issuer.Check(p.Tenant); err != nil {
		return nil, err
	}
	if err := mayHandOut(p, p.Tenant, in.Slug, &issuer); err != nil {
		return nil, err
	}
	if err := a.mayChangeIssuer(ctx, p, in.Slug); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err := a.Issuers.Try(ctx, &issuer); err != nil {
		field := "body.issuer"
		if issuer.JWKSURL != "" {
			field = "body.jwks_url"
		}
		return nil, unprocessable("The issuer's keys cannot be had.", web.FieldError{Location: field, Message: err.Error()})
	}
	e, created, err := a.Catalog.PutTokenIssuer(ctx, p.Tenant, in.Slug, issuer, when)
	if err != nil {
		return nil, in.stale(err)
	}
	v, err := viewIssuer(&e)
	return withETag(e.Revision, created, v), err
}

// mayChangeIssuer refuses to change an issuer whose tokens can do more than who asks.
func (a *api) mayChangeIssuer(ctx context.Context, by auth.Principal, slug string) error {
	old, err := a.Catalog.TokenIssuer(ctx, by.Tenant, slug)
	if err != nil {
		return err
	}
	return mayHandOut(by, by.Tenant, slug, &old.Value)
}

// mayHandOut refuses an issuer whose tokens could do more than who saves it.
func mayHandOut(by auth.Principal, t tenant.ID, slug string, i *auth.TokenIssuer) error {
	p, err := i.Principal(t, slug, "")
	if err != nil {
		return err
	}
	if !by.Role.Covers(p.Role) || !by.Covers(p) {
		return web.NewProblem(http.StatusForbidden, "Nobody can let tokens do more than they may themselves: choose another role or fewer scopes.")
	}
	return nil
}
