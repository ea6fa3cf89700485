package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// What the page is told, as sign_in_error, when somebody comes back from an identity provider and is not let in.
const (
	failedUnknown     = "unknown"     // there is no such provider
	failedExpired     = "expired"     // it took too long, or began in another browser
	failedDenied      = "denied"      // the provider, or the person, said no
	failedNoRole      = "no_role"     // no group has a role
	failedUnverified  = "unverified"  // the e-mail is not verified
	failedDisabled    = "disabled"    // the account is
	failedLimited     = "limited"     // too many tries
	failedUnavailable = "unavailable" // the provider cannot be reached, or is set up wrongly
	failedOther       = "failed"
)

// The cookie that binds an attempt to a browser.
const (
	secureAttempt = "__Host-pulsestream-signin"
	plainAttempt  = "pulsestream-signin"
)

type waysView struct {
	Tenant    string    `json:"tenant"`
	Password  bool      `json:"password"`
	Providers []wayView `json:"providers"`
}

type wayView struct {
	Slug string `json:"slug"`
	Name string `json:"name"`
	Type string `json:"type" enum:"oidc,saml"`
	URL  string `json:"url" doc:"Where to send the browser."`
}

func (a *api) federateRoutes() {
	public(a, operation{method: http.MethodGet, path: "/v1/sign-in", id: "get-ways-in", tag: sessionTag, summary: "How members of a tenant sign in",
		description: "A tenant that does not exist looks like one that has only passwords."},
		func(ctx context.Context, in *struct {
			Tenant string `query:"tenant" maxLength:"63" default:"default"`
		}) (*body[waysView], error) {
			v := waysView{Tenant: in.Tenant, Password: true, Providers: []wayView{}}
			if tenant.CheckSlug(in.Tenant) != nil {
				return &body[waysView]{v}, nil //nolint:nilerr // it looks like a tenant that has only passwords
			}
			all, err := a.Catalog.Providers(ctx, tenant.ID(in.Tenant))
			for i := range all {
				p := &all[i]
				v.Providers = append(v.Providers, wayView{Slug: p.Slug, Name: p.Value.Name, Type: p.Value.Type, URL: "/auth/" + in.Tenant + "/" + p.Slug})
			}
			return &body[waysView]{v}, err
		})
	a.mux.HandleFunc("GET /auth/{tenant}/{provider}", a.toProvider)
	a.mux.HandleFunc("GET /auth/{tenant}/{provider}/callback", a.fromProvider)
	a.describeFederation()
	a.samlRoutes()
}

func (a *api) redirectURI(r *http.Request, e *catalog.Entry[catalog.Provider]) string {
	return a.base(r) + "/auth/" + url.PathEscape(string(e.Tenant)) + "/" + url.PathEscape(e.Slug) + "/callback"
}

// away is how every answer on this way goes: on to another page, and remembered nowhere.
func away(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Cache-Control", noStore)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to) // absolute within this host, or the provider's own; nothing of it is the request's to choose
	w.WriteHeader(http.StatusSeeOther)
}

func turnAway(w http.ResponseWriter, why string) {
	away(w, "/?sign_in_error="+url.QueryEscape(why))
}

// providerOf is the provider that a path names, or store.ErrNotFound.
func (a *api) providerOf(r *http.Request) (catalog.Entry[catalog.Provider], error) {
	return a.Catalog.Provider(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("provider"))
}

func (a *api) oidcConfig(r *http.Request, e *catalog.Entry[catalog.Provider]) oidc.Config {
	p := &e.Value
	return oidc.Config{Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: p.Secrets.ClientSecret, Scopes: p.Scopes, GroupsClaim: p.GroupsClaim, Redirect: a.redirectURI(r, e)}
}

// toProvider sends a browser to an identity provider.
func (a *api) toProvider(w http.ResponseWriter, r *http.Request) {
	e, err := a.providerOf(r)
	switch {
	case isNotFound(err):
		turnAway(w, failedUnknown)
		return
	case err != nil:
		a.problem(err).Write(w)
		return
	}
	if err := a.People.Knock(address(r)); err != nil { // the provider may have to be asked who it is, and does not have to answer
		turnAway(w, failedLimited)
		return
	}
	if e.Value.Type == catalog.ProviderSAML {
		a.toSAML(w, r, &e)
		return
	}
	cookie, attempt := signin.NewAttempt(e.Tenant, e.Slug, a.Now())
	to, err := a.OIDC.Begin(r.Context(), a.oidcConfig(r, &e), attempt)
	if err != nil {
		a.turned(r, &e, auth.MethodOIDC, err)
		turnAway(w, failedUnavailable)
		return
	}
	a.People.Welcome(address(r))
	w.Header().Add("Set-Cookie", a.attemptCookie(r, cookie, false))
	away(w, to)
}

// fromProvider takes somebody in who comes back from an identity provider.
func (a *api) fromProvider(w http.ResponseWriter, r *http.Request) {
	e, err := a.providerOf(r)
	switch {
	case isNotFound(err) || err == nil && e.Value.Type != catalog.ProviderOIDC:
		turnAway(w, failedUnknown)
		return
	case err != nil:
		a.problem(err).Write(w)
		return
	}
	attempt, ok := a.attempt(r, &e)
	w.Header().Add("Set-Cookie", a.attemptCookie(r, "", false)) // whatever comes of it, it is over
	if !ok || !attempt.Matches(r.URL.Query().Get("state")) {
		turnAway(w, failedExpired)
		return
	}
	from := a.from(r)
	if err := a.People.Knock(from.Address); err != nil {
		turnAway(w, failedLimited)
		return
	}
	who, err := a.OIDC.Finish(r.Context(), a.oidcConfig(r, &e), attempt, r.URL.Query())
	if err != nil {
		a.turned(r, &e, auth.MethodOIDC, err)
		why := failedOther
		if errors.Is(err, oidc.ErrDenied) {
			why = failedDenied
		}
		turnAway(w, why)
		return
	}
	a.People.Welcome(from.Address)
	a.enter(w, r, &e, auth.MethodOIDC, who, from)
}

// enter lets somebody in whom a provider has vouched for, and sends them to the page.
func (a *api) enter(w http.ResponseWriter, r *http.Request, e *catalog.Entry[catalog.Provider], method auth.Method, who signin.Identity, from signin.Origin) {
	begun, err := a.People.Enter(r.Context(), *e, method, who, from)
	why := ""
	switch {
	case errors.Is(err, signin.ErrNoRole):
		why = failedNoRole
	case errors.Is(err, signin.ErrUnverified):
		why = failedUnverified
	case errors.Is(err, signin.ErrDisabled):
		why = failedDisabled
	case err != nil:
		a.turned(r, e, method, err)
		why = failedOther
	}
	if why != "" {
		turnAway(w, why)
		return
	}
	w.Header().Add("Set-Cookie", a.setCookie(r, begun.Cookie))
	away(w, "/")
}

// turned notes that somebody did not come in. Why is for the log: it may say more of the provider than they should know.
func (a *api) turned(r *http.Request, e *catalog.Entry[catalog.Provider], method auth.Method, err error) {
	a.People.Turned(r.Context(), signin.Failure{Tenant: e.Tenant, Method: method, From: a.from(r), Reason: "identity provider " + e.Slug + ": " + err.Error()})
}

// attempt is the one that this browser has begun at a provider.
func (a *api) attempt(r *http.Request, e *catalog.Entry[catalog.Provider]) (signin.Attempt, bool) {
	name := plainAttempt
	if a.secure(r) {
		name = secureAttempt
	}
	c, err := r.Cookie(name)
	if err != nil {
		return signin.Attempt{}, false
	}
	return signin.ReadAttempt(c.Value, e.Tenant, e.Slug, a.Now())
}

// attemptCookie keeps an attempt in a browser. Posted says that it comes back with a form that another site's page sends.
func (a *api) attemptCookie(r *http.Request, value string, posted bool) string {
	// Lax: the browser comes back from another site.
	c := http.Cookie{Name: plainAttempt, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(signin.AttemptTTL / time.Second)} //nolint:gosec // Secure below, where there is TLS
	if value == "" {
		c.MaxAge = -1
	}
	if a.secure(r) {
		c.Name, c.Secure = secureAttempt, true
		if posted { // which browsers allow over TLS only
			c.SameSite = http.SameSiteNoneMode
		}
	}
	return c.String()
}

func (a *api) describeFederation() {
	path := func(names ...string) (out []*huma.Param) {
		for _, n := range names {
			out = append(out, &huma.Param{Name: n, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
		return out
	}
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "begin-sign-in", Method: http.MethodGet, Path: "/auth/{tenant}/{provider}", Tags: []string{sessionTag},
		Summary: "Send a browser to an identity provider", Parameters: path("tenant", "provider"),
		Responses: map[string]*huma.Response{"303": {Description: "To the provider, or to `/?sign_in_error=…`."}}})
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "finish-sign-in", Method: http.MethodGet, Path: "/auth/{tenant}/{provider}/callback", Tags: []string{sessionTag},
		Summary: "Where an identity provider sends a browser back to", Parameters: path("tenant", "provider"),
		Description: "Ends at `/` with the cookie of a session, or at `/?sign_in_error=`: `unknown`, `expired`, `denied`, `no_role`, `unverified`, `disabled`, `limited`, `unavailable` or `failed`.",
		Responses:   map[string]*huma.Response{"303": {Description: "To the page."}}})
}
