package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/web"
)

// ProviderFields is what can be said of an identity provider.
type ProviderFields struct {
	Name string `json:"name,omitempty" maxLength:"200" doc:"For people, on the way in; the slug when missing."`
	Type string `json:"type" enum:"oidc,saml"`

	Issuer               string   `json:"issuer,omitempty" maxLength:"500" doc:"OpenID Connect: exactly as the provider writes it." example:"https://login.example.com"`
	ClientID             string   `json:"client_id,omitempty" maxLength:"500"`
	Scopes               []string `json:"scopes,omitempty" maxItems:"20" doc:"Asked for besides openid: profile and email when missing."`
	GroupsClaim          string   `json:"groups_claim,omitempty" maxLength:"200" doc:"The claim that has the groups: groups when missing. Dots lead through objects."`
	RequireVerifiedEmail bool     `json:"require_verified_email,omitempty" doc:"Refuse those whose e-mail the provider has not verified."`

	MetadataURL     string `json:"metadata_url,omitempty" maxLength:"2000" doc:"SAML: where the provider's metadata is."`
	MetadataXML     string `json:"metadata_xml,omitempty" maxLength:"262144" doc:"Or the metadata itself."`
	GroupsAttribute string `json:"groups_attribute,omitempty" maxLength:"500" doc:"The attribute that has the groups: groups when missing."`

	Roles       map[string]auth.Role `json:"roles,omitempty" doc:"Roles of groups. With any, the provider decides about roles at each sign-in; the mightiest counts." example:"{\"ops\": \"admin\", \"staff\": \"viewer\"}"`
	DefaultRole auth.Role            `json:"default_role,omitempty" enum:"owner,admin,editor,viewer,ingest" doc:"Of those whose groups have none; without it they are refused."`
}

type putProviderInput struct {
	Slug string `json:"slug,omitempty" maxLength:"63" doc:"Repeats the path's."`
	ProviderFields
	ClientSecret string `json:"client_secret,omitempty" maxLength:"1000" writeOnly:"true" doc:"Never shown; what is there stays when missing."`
}

type providerView struct {
	Slug string `json:"slug"`
	ProviderFields
	Redirect  string    `json:"redirect_uri" doc:"What to enter at the provider as the address to come back to; for SAML, the assertion consumer service."`
	EntityID  string    `json:"entity_id,omitempty" doc:"SAML: what the provider knows us by, and the address of our metadata."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (a *api) viewProvider(e *catalog.Entry[catalog.Provider], r *http.Request) providerView {
	p := &e.Value
	redirect, entity := a.redirectURI(r, e), ""
	if p.Type == catalog.ProviderSAML {
		if sp, err := a.serviceProvider(r, e, nil); err == nil {
			redirect, entity = sp.ACS(), sp.EntityID()
		}
	}
	return providerView{Slug: e.Slug, ProviderFields: ProviderFields{Name: p.Name, Type: p.Type, Issuer: p.Issuer, ClientID: p.ClientID, Scopes: p.Scopes, GroupsClaim: p.GroupsClaim,
		RequireVerifiedEmail: p.RequireVerifiedEmail, MetadataURL: p.MetadataURL, MetadataXML: p.MetadataXML, GroupsAttribute: p.GroupsAttribute, Roles: p.Roles, DefaultRole: p.DefaultRole},
		Redirect: redirect, EntityID: entity, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
}

func (a *api) providerRoutes() {
	const tag = "Identity providers"
	register(a, operation{method: http.MethodGet, path: "/v1/identity-providers", id: "list-identity-providers", tag: tag, permission: auth.IdentityRead, summary: "All identity providers"},
		func(ctx context.Context, p auth.Principal, in *struct{ Origin }) (*body[list[providerView]], error) {
			all, err := a.Catalog.Providers(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			return listOf(all, func(e *catalog.Entry[catalog.Provider]) (providerView, error) {
				return a.viewProvider(e, in.request), nil
			})
		})
	register(a, operation{method: http.MethodGet, path: "/v1/identity-providers/{slug}", id: "get-identity-provider", tag: tag, permission: auth.IdentityRead,
		summary: "One identity provider, without its secret", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *struct {
			SlugPath
			Origin
		}) (*versioned[providerView], error) {
			e, err := a.Catalog.Provider(ctx, p.Tenant, in.Slug)
			if err != nil {
				return nil, err
			}
			return withETag(e.Revision, false, a.viewProvider(&e, in.request)), nil
		})
	register(a, operation{method: http.MethodPut, path: "/v1/identity-providers/{slug}", id: "put-identity-provider", tag: tag, permission: auth.IdentityWrite,
		summary: "Make or change an identity provider", description: "The provider is asked for its metadata at once, so that a slip shows now. Nobody can set up one that gives, or by which members have come who have, a mightier role than their own.",
		errors: []int{http.StatusPreconditionFailed}}, a.putProvider)
	register(a, operation{method: http.MethodDelete, path: "/v1/identity-providers/{slug}", id: "delete-identity-provider", tag: tag, permission: auth.IdentityWrite, status: http.StatusNoContent,
		summary: "Remove an identity provider", description: "The sessions that began by it end. Its members stay, and cannot come back by it.",
		errors: []int{http.StatusNotFound, http.StatusPreconditionFailed}},
		func(ctx context.Context, p auth.Principal, in *struct {
			SlugPath
			Conditional
		}) (*struct{}, error) {
			when, err := in.condition()
			if err != nil {
				return nil, err
			}
			return nil, in.stale(a.People.RemoveProvider(ctx, p, in.Slug, when))
		})
}

func (a *api) putProvider(ctx context.Context, p auth.Principal, in *struct {
	SlugPath
	Conditional
	Origin
	Body putProviderInput
}) (*versioned[providerView], error) {
	when, err := in.begin(in.Slug, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	b := &in.Body
	next := catalog.Provider{Name: b.Name, Type: b.Type, Issuer: b.Issuer, ClientID: b.ClientID, Scopes: b.Scopes, GroupsClaim: b.GroupsClaim, RequireVerifiedEmail: b.RequireVerifiedEmail,
		MetadataURL: b.MetadataURL, MetadataXML: b.MetadataXML, GroupsAttribute: b.GroupsAttribute, Roles: b.Roles, DefaultRole: b.DefaultRole,
		Secrets: catalog.ProviderSecrets{ClientSecret: b.ClientSecret}}
	if next.Name == "" {
		next.Name = in.Slug
	}
	old, err := a.Catalog.Provider(ctx, p.Tenant, in.Slug)
	switch {
	case err != nil && !isNotFound(err):
		return nil, err
	case next.Secrets.ClientSecret == "" && old.Value.Issuer == next.Issuer: // a secret goes to nobody but whom it was given for
		next.Secrets = old.Value.Secrets
	}
	if err := a.checkProvider(ctx, &next); err != nil {
		return nil, err
	}
	e, created, err := a.People.PutProvider(ctx, p, in.Slug, next, when)
	if err != nil {
		return nil, in.stale(err)
	}
	return withETag(e.Revision, created, a.viewProvider(&e, in.request)), nil
}

// checkProvider says what is wrong with an identity provider, and sets what is usual where nothing is said.
func (a *api) checkProvider(ctx context.Context, p *catalog.Provider) error {
	wrong := func(field, message string) error {
		return unprocessable("The identity provider is not right.", web.FieldError{Location: "body." + field, Message: message})
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	if len(p.Roles) > 500 {
		return wrong("roles", "at most 500 groups can have roles")
	}
	for group, role := range p.Roles {
		if group == "" || len(group) > 200 || !role.Valid() {
			return wrong("roles", "each group of at most 200 characters has one of the roles owner, admin, editor, viewer and ingest")
		}
	}
	if len(p.Roles) == 0 && p.DefaultRole == "" {
		return wrong("roles", "name the roles of groups, or a default role: else nobody could come in")
	}
	switch p.Type {
	case catalog.ProviderOIDC:
		return a.checkOIDC(ctx, p, wrong)
	case catalog.ProviderSAML:
		return a.checkSAML(ctx, p, wrong)
	}
	return wrong("type", "it is oidc or saml")
}

func (a *api) checkOIDC(ctx context.Context, p *catalog.Provider, wrong func(field, message string) error) error {
	if p.MetadataURL != "" || p.MetadataXML != "" || p.GroupsAttribute != "" {
		return wrong("type", "metadata_url, metadata_xml and groups_attribute belong to saml")
	}
	if err := oidc.CheckIssuer(p.Issuer); err != nil {
		return wrong("issuer", err.Error())
	}
	if p.ClientID == "" {
		return wrong("client_id", "the provider gives one when this installation is registered there")
	}
	if len(p.Scopes) == 0 {
		p.Scopes = []string{"profile", "email"}
	}
	for _, s := range p.Scopes {
		if !scopeToken(s) {
			return wrong("scopes", "a scope has no spaces, quotes or backslashes, and at most 200 characters")
		}
	}
	if p.GroupsClaim == "" {
		p.GroupsClaim = "groups"
	}
	if err := a.OIDC.Discover(ctx, p.Issuer); err != nil {
		return wrong("issuer", err.Error())
	}
	return nil
}

// scopeToken is RFC 6749's.
func scopeToken(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= 200
}
