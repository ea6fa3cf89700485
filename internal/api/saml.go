package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/signin/saml"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// maxSAMLForm bounds what a browser brings from an identity provider.
const maxSAMLForm = 512 << 10

func (a *api) samlRoutes() {
	a.mux.HandleFunc("POST /auth/{tenant}/{provider}/acs", a.fromSAML)
	a.mux.HandleFunc("GET /auth/{tenant}/{provider}/metadata", a.samlMetadata)
	a.describeSAML()
}

// once keeps what a tenant's browsers have used up.
type once struct {
	catalog *catalog.Catalog
	tenant  tenant.ID
}

// Use implements saml.Once.
func (o once) Use(ctx context.Context, id string, until time.Time) error {
	fresh, err := o.catalog.UseOnce(ctx, o.tenant, id, until)
	if err == nil && !fresh {
		err = saml.ErrUsed
	}
	return err
}

// serviceProvider is who we are to a tenant's identity provider. Metadata may be nil where only that is asked.
func (a *api) serviceProvider(r *http.Request, e *catalog.Entry[catalog.Provider], m *saml.Metadata) (*saml.Provider, error) {
	return saml.New(saml.Config{Base: a.base(r), Tenant: string(e.Tenant), Provider: e.Slug, Metadata: m, GroupsAttribute: e.Value.GroupsAttribute, Once: once{a.Catalog, e.Tenant}, Now: a.Now})
}

// withSAML is serviceProvider with the identity provider's metadata.
func (a *api) withSAML(r *http.Request, e *catalog.Entry[catalog.Provider]) (*saml.Provider, error) {
	m, err := a.SAML.Get(r.Context(), e.Value.MetadataXML, e.Value.MetadataURL, false)
	if err != nil {
		return nil, err
	}
	return a.serviceProvider(r, e, m)
}

// toSAML sends a browser to an identity provider.
func (a *api) toSAML(w http.ResponseWriter, r *http.Request, e *catalog.Entry[catalog.Provider]) {
	cookie, attempt := signin.NewAttempt(e.Tenant, e.Slug, a.Now())
	to := ""
	sp, err := a.withSAML(r, e)
	if err == nil {
		to, err = sp.Start(r.Context(), attempt.Verifier)
	}
	if err != nil {
		a.turned(r, e, auth.MethodSAML, err)
		turnAway(w, failedUnavailable)
		return
	}
	a.People.Welcome(address(r))
	w.Header().Add("Set-Cookie", a.attemptCookie(r, cookie, true))
	away(w, to)
}

// fromSAML takes somebody in who comes back with an assertion. Another site's page has sent the form, which is how it goes; that this browser has begun is
// what its cookie says.
func (a *api) fromSAML(w http.ResponseWriter, r *http.Request) {
	e, err := a.providerOf(r)
	switch {
	case isNotFound(err) || err == nil && e.Value.Type != catalog.ProviderSAML:
		turnAway(w, failedUnknown)
		return
	case err != nil:
		a.problem(err).Write(w)
		return
	}
	attempt, ok := a.attempt(r, &e)
	w.Header().Add("Set-Cookie", a.attemptCookie(r, "", true)) // whatever comes of it, it is over
	r.Body = http.MaxBytesReader(w, r.Body, maxSAMLForm)
	if !ok || r.ParseForm() != nil {
		turnAway(w, failedExpired)
		return
	}
	from := a.from(r)
	if err := a.People.Knock(from.Address); err != nil {
		turnAway(w, failedLimited)
		return
	}
	sp, err := a.withSAML(r, &e)
	if err != nil {
		a.turned(r, &e, auth.MethodSAML, err)
		turnAway(w, failedUnavailable)
		return
	}
	who, err := sp.Finish(r.Context(), attempt.Verifier, r.PostForm.Get("SAMLResponse"), r.PostForm.Get("RelayState"))
	if err != nil {
		a.turned(r, &e, auth.MethodSAML, err)
		turnAway(w, failedOther)
		return
	}
	a.People.Welcome(from.Address)
	a.enter(w, r, &e, auth.MethodSAML, signin.Identity(who), from)
}

// samlMetadata tells an identity provider who we are. It is as public as the address that it is at, and says nothing of the tenant: who is not there has it too.
func (a *api) samlMetadata(w http.ResponseWriter, r *http.Request) {
	e := catalog.Entry[catalog.Provider]{Tenant: tenant.ID(r.PathValue("tenant")), Slug: r.PathValue("provider")}
	if tenant.CheckSlug(string(e.Tenant)) != nil || tenant.CheckSlug(e.Slug) != nil {
		web.NewProblem(http.StatusNotFound, "There is no such thing.").Write(w)
		return
	}
	sp, err := a.serviceProvider(r, &e, nil)
	if err != nil {
		a.problem(err).Write(w)
		return
	}
	own, err := sp.Own(r.Context())
	if err != nil {
		a.problem(err).Write(w)
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(own) //nolint:gosec // XML that a library has escaped, never shown as a page
}

// checkSAML says what is wrong with an identity provider that speaks SAML.
func (a *api) checkSAML(ctx context.Context, p *catalog.Provider, wrong func(field, message string) error) error {
	if p.Issuer != "" || p.ClientID != "" || len(p.Scopes) > 0 || p.GroupsClaim != "" || p.Secrets.ClientSecret != "" || p.RequireVerifiedEmail {
		return wrong("type", "issuer, client_id, client_secret, scopes, groups_claim and require_verified_email belong to oidc")
	}
	if (p.MetadataURL == "") == (p.MetadataXML == "") {
		return wrong("metadata_url", "give the address of the identity provider's metadata, or the metadata itself as metadata_xml, and not both")
	}
	field := "metadata_xml"
	if p.MetadataURL != "" {
		field = "metadata_url"
		if err := auth.CheckAddress(p.MetadataURL); err != nil {
			return wrong(field, err.Error())
		}
	}
	if p.GroupsAttribute == "" {
		p.GroupsAttribute = saml.DefaultGroups
	}
	if _, err := a.SAML.Get(ctx, p.MetadataXML, p.MetadataURL, true); err != nil {
		return wrong(field, err.Error())
	}
	return nil
}

// issuerOf is what the word of an identity provider has as its issuer.
func (a *api) issuerOf(ctx context.Context, e *catalog.Entry[catalog.Provider]) (string, error) {
	if e.Value.Type != catalog.ProviderSAML {
		return e.Value.Issuer, nil
	}
	m, err := a.SAML.Get(ctx, e.Value.MetadataXML, e.Value.MetadataURL, false)
	if err != nil {
		return "", err
	}
	return m.EntityID(), nil
}

func (a *api) describeSAML() {
	var path []*huma.Param
	for _, n := range []string{"tenant", "provider"} {
		path = append(path, &huma.Param{Name: n, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	text := &huma.Schema{Type: huma.TypeString}
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "finish-saml-sign-in", Method: http.MethodPost, Path: "/auth/{tenant}/{provider}/acs", Tags: []string{sessionTag},
		Summary: "Where an identity provider has a browser bring its assertion (SAML)", Parameters: path,
		Description: "Ends as the callback of OpenID Connect does. Only what this browser has asked for is taken.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/x-www-form-urlencoded": {Schema: &huma.Schema{Type: huma.TypeObject,
			Properties: map[string]*huma.Schema{"SAMLResponse": text, "RelayState": text}, Required: []string{"SAMLResponse", "RelayState"}}}}},
		Responses: map[string]*huma.Response{"303": {Description: "To the page."}}})
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-saml-metadata", Method: http.MethodGet, Path: "/auth/{tenant}/{provider}/metadata", Tags: []string{sessionTag},
		Summary: "What to tell a SAML identity provider of us", Parameters: path, Description: "It says nothing of whether there is such a tenant or provider.",
		Responses: map[string]*huma.Response{"200": {Description: "An EntityDescriptor.", Content: map[string]*huma.MediaType{"application/samlmetadata+xml": {Schema: text}}}}})
}
