// Package api is the public REST API: one route table, one file for each noun. Handlers go tenant → parameters → load →
// validate → change → respond, and hand every error to one table that turns it into an answer.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/signin/saml"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/usage"
	"github.com/pulsestream/pulsestream/internal/web"
)

// Deps is what the API is made of.
type Deps struct {
	Log       *slog.Logger
	Now       func() time.Time
	Keys      Authenticator
	Keyring   *auth.Keyring
	Sessions  *auth.Sessions
	People    *signin.Service
	OIDC      *oidc.Client
	SAML      *saml.Sources
	Tokens    *auth.Tokens
	Issuers   *auth.Foreign
	Signing   *auth.Signing
	Tickets   *auth.Tickets
	Catalog   *catalog.Catalog
	Audit     *audit.Catalog
	Registry  *catalog.Registry
	Events    store.Events
	Incidents *Incidents
	Query     *query.Engine
	Reports   *report.Service
	Vendors   *source.Catalogue
	Channels  notify.Registry
	Tester    Tester
	Door      *ingest.Door
	// Live is the WebSocket, for a principal that has been found out.
	Live func(w http.ResponseWriter, r *http.Request, p auth.Principal, holds func(context.Context) bool)
	// IncidentChanged is called when somebody has done something about an incident; it may be nil.
	IncidentChanged func(t tenant.ID, id string)
	// Metrics is the Prometheus endpoint.
	Metrics http.Handler
	// Ready says why events can't be taken, or nil.
	Ready func() error
	// Stalled says why events that were taken are not processed at present, or nil.
	Stalled func() error
	// Rebuilding says how far the store of events is, while it is rebuilt from the log; else nil.
	Rebuilding func() *Rebuilding
	// RateLimit is how many events a second a tenant may send that has no limit of its own; 0 is no limit.
	RateLimit float64
	// Losses names what was ever found to be gone from the log, oldest first.
	Losses func() []Loss
	// Usage reads what tenants have used, and Meter counts queries; nil where the API isn't served.
	Usage *usage.Ledger
	Meter *usage.Meter
	// Limits says whether rate limits that should be shared by all processes are each process's own at present; it may be nil.
	Limits func() bool
	// Secrets is how secrets in the catalog are kept.
	Secrets Secrets
	// Without names what this process leaves to others of its fleet: what brings events in, and all the rest.
	Without Without
	// Fleet says how this process stands in its fleet; nil for a server that is alone.
	Fleet func() Fleet
	// Partitions is the number of the log's partitions.
	Partitions int
	// PublicURL is how the server is reached from outside; empty takes the request's host.
	PublicURL string
	Version   string
}

// Authenticator finds out who a bearer token belongs to.
type Authenticator interface {
	Authenticate(ctx context.Context, bearer string, now time.Time) (auth.Principal, error)
}

// Tester sends a test message through a channel.
type Tester interface {
	Test(ctx context.Context, c notify.Channel) notify.Report
}

// api is Deps with the router they are served by.
type api struct {
	Deps
	huma     huma.API
	mux      *http.ServeMux
	origins  *http.CrossOriginProtection
	refusals refusals
}

// Handler is the whole API. Page serves every path that is not the API's.
func Handler(d Deps, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("PulseStream", d.Version)
	cfg.Info.Description = "A control tower for the APIs your company lives on: vendors' webhooks and your own events in, live metrics and alerts out."
	cfg.CreateHooks = nil // no $schema members in answers
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "/openapi", "", ""
	written := jsonFormat()
	cfg.Formats = map[string]huma.Format{"application/json": written, "json": written}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":  {Type: "http", Scheme: "bearer", Description: "An API key, ps_<id>_<secret>, or an access token for one. Keys match `" + auth.KeyPattern + "`."},
		"session": {Type: "apiKey", In: "cookie", Name: secureCookie, Description: "The cookie of a member who has signed in; over plain http it is `" + plainCookie + "`. What changes anything has to come from the server's own pages."},
	}
	a := &api{Deps: d, mux: mux, origins: ownOrigin(d.PublicURL)}
	cfg.Transformers = append(cfg.Transformers, a.transform)
	a.huma = humago.New(mux, cfg)
	a.routes()
	a.describeProblems()
	mux.Handle("/", a.notFound(page))
	return web.Outermost(mux, d.Log, d.Now)
}

// Without is what is left out of a process.
type Without struct{ Ingest, API bool }

// routes is the route table.
func (a *api) routes() {
	if !a.Without.Ingest {
		a.mux.Handle("POST /v1/events", a.Door.Events(a.sender))
		a.mux.HandleFunc("POST /v1/hooks/{token}", a.hook)
	}
	if !a.Without.API {
		a.apiRoutes()
	}
	a.operationRoutes()
}

func (a *api) apiRoutes() {
	a.tenantRoutes()
	a.permissionRoutes()
	a.keyRoutes()
	a.oauthRoutes()
	a.sessionRoutes()
	a.memberRoutes()
	a.tokenIssuerRoutes()
	a.scimRoutes()
	a.providerRoutes()
	a.federateRoutes()
	a.adminRoutes()
	a.auditRoutes()
	a.secretRoutes()
	a.eventRoutes()
	a.metricRoutes()
	a.sourceRoutes()
	a.ruleRoutes()
	a.incidentRoutes()
	a.channelRoutes()
	a.quarantineRoutes()
	a.reportRoutes()
	a.overviewRoutes()
	a.usageRoutes()
	a.liveRoutes()
}

// notFound answers unknown paths of the API with a problem and leaves the others to the page.
func (a *api) notFound(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; p == "/v1" || strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/oauth/") || strings.HasPrefix(p, "/scim/") || strings.HasPrefix(p, "/.well-known/") {
			if allowed := a.allowed(r); len(allowed) > 0 {
				w.Header()["Allow"] = allowed
				web.NewProblem(http.StatusMethodNotAllowed, "").Write(w)
				return
			}
			detail := "There is no such path: /docs lists those that there are."
			if a.Without != (Without{}) {
				detail = "This process does not have that path: in a fleet, those with the role ingest take events and webhooks, and those with the role api have the rest."
			}
			web.NewProblem(http.StatusNotFound, detail).Write(w)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// allowed is the methods that a path of the API has.
func (a *api) allowed(r *http.Request) []string {
	var out []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.mux.Handler(probe); pattern != "" && pattern != "/" {
			out = append(out, method)
		}
	}
	return out
}
