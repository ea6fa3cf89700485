package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/web"
)

type sourceInput struct {
	Slug    string   `json:"slug,omitempty" maxLength:"63"`
	Vendor  string   `json:"vendor" example:"stripe" doc:"See /v1/vendors."`
	Name    string   `json:"name,omitempty" maxLength:"200"`
	Secret  string   `json:"secret,omitempty" maxLength:"1024" doc:"What the vendor signs with; never shown again. Left out of a change, it stays as it is." example:"whsec_…"`
	Secrets []string `json:"secrets,omitempty" maxItems:"4" doc:"Instead of secret, while one is being replaced: a signature by any of them is good."`
}

type sourceView struct {
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Vendor    string    `json:"vendor"`
	URL       string    `json:"url" doc:"Where the vendor is to send its webhooks. Its last part is a secret."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type vendorView struct {
	Vendor     string   `json:"vendor"`
	Name       string   `json:"name"`
	Docs       string   `json:"docs"`
	SecretHint string   `json:"secret_hint" doc:"Where the vendor shows the secret."`
	Metrics    []string `json:"metrics" doc:"The standard metrics that a source of this vendor brings."`
}

// Origin knows how the server is reached from outside.
type Origin struct{ request *http.Request }

// Resolve keeps the request.
func (o *Origin) Resolve(ctx huma.Context) []error {
	o.request, _ = humago.Unwrap(ctx)
	return nil
}

// base is how the server is reached, without a slash at its end.
func (a *api) base(r *http.Request) string {
	if a.PublicURL != "" {
		return strings.TrimRight(a.PublicURL, "/")
	}
	scheme := "http"
	if web.IsHTTPS(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (a *api) sourceRoutes() {
	const tag = "Sources"
	register(a, operation{method: http.MethodGet, path: "/v1/vendors", id: "list-vendors", tag: tag, permission: auth.SourcesRead,
		summary: "The vendors whose webhooks are understood"}, a.listVendors)
	register(a, operation{method: http.MethodGet, path: "/v1/sources", id: "list-sources", tag: tag, permission: auth.SourcesRead,
		summary: "All sources"}, func(ctx context.Context, p auth.Principal, in *struct{ Origin }) (*body[list[sourceView]], error) {
		entries, err := a.Catalog.Sources(ctx, p.Tenant)
		if err != nil {
			return nil, err
		}
		return listOf(entries, func(e *catalog.Entry[catalog.Source]) (sourceView, error) { return a.viewSource(e, in.Origin), nil })
	})
	register(a, operation{method: http.MethodGet, path: "/v1/sources/{slug}", id: "get-source", tag: tag, permission: auth.SourcesRead,
		summary: "One source", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *struct {
			SlugPath
			Origin
		}) (*versioned[sourceView], error) {
			e, err := a.Catalog.Source(ctx, p.Tenant, in.Slug)
			if err != nil {
				return nil, err
			}
			return withETag(e.Revision, false, a.viewSource(&e, in.Origin)), nil
		})
	register(a, operation{method: http.MethodPut, path: "/v1/sources/{slug}", id: "put-source", tag: tag, permission: auth.SourcesWrite,
		summary:     "Make or change a source",
		description: "A vendor's webhooks then come to the source's `url`, and the vendor's standard metrics are there.",
		errors:      []int{http.StatusConflict, http.StatusPreconditionFailed}}, a.putSource)
	registerDelete(a, operation{path: "/v1/sources/{slug}", id: "delete-source", tag: tag, permission: auth.SourcesWrite, summary: "Remove a source; its events stay"}, a.Catalog.DeleteSource)
	a.describeHook(tag)
}

func (a *api) viewSource(e *catalog.Entry[catalog.Source], o Origin) sourceView {
	name := e.Value.Name
	if name == "" {
		name = e.Slug
	}
	return sourceView{Slug: e.Slug, Name: name, Vendor: e.Value.Vendor, URL: a.base(o.request) + "/v1/hooks/" + e.Value.Token,
		CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
}

func (a *api) listVendors(_ context.Context, _ auth.Principal, _ *struct{}) (*body[list[vendorView]], error) {
	out := list[vendorView]{}
	for _, v := range a.Vendors.All() {
		view := vendorView{Vendor: v.Slug, Name: v.Name, Docs: v.Docs, SecretHint: v.SecretHint, Metrics: []string{}}
		for i := range v.Metrics {
			view.Metrics = append(view.Metrics, v.Metrics[i].Slug)
		}
		out.Data = append(out.Data, view)
	}
	return &body[list[vendorView]]{out}, nil
}

func (a *api) putSource(ctx context.Context, p auth.Principal, in *struct {
	SlugPath
	Conditional
	Origin
	Body sourceInput
}) (*versioned[sourceView], error) {
	when, err := in.begin(in.Slug, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	vendor, ok := a.Vendors.Lookup(in.Body.Vendor)
	if !ok {
		var names []string
		for _, v := range a.Vendors.All() {
			names = append(names, v.Slug)
		}
		return nil, unprocessable("The vendor is not known.", web.FieldError{Location: "body.vendor", Message: "use one of " + strings.Join(names, ", ")})
	}
	secrets := in.Body.Secrets
	if in.Body.Secret != "" {
		secrets = append([]string{in.Body.Secret}, secrets...)
	}
	if len(secrets) == 0 { // a change that leaves the secret alone
		old, err := a.Catalog.Source(ctx, p.Tenant, in.Slug)
		if err == nil && old.Value.Vendor == vendor.Slug {
			secrets = old.Value.Secrets
		}
	}
	if len(secrets) == 0 {
		return nil, unprocessable("The secret is missing.", web.FieldError{Location: "body.secret", Message: "give the secret that " + vendor.Name + " signs with: " + vendor.SecretHint})
	}
	if err := vendor.Scheme.CheckSecrets(secrets); err != nil {
		return nil, unprocessable("The secret is not right.", web.FieldError{Location: "body.secret", Message: err.Error()})
	}
	e, created, err := a.Catalog.PutSource(ctx, p.Tenant, in.Slug, catalog.Source{Name: in.Body.Name, Vendor: vendor.Slug, Secrets: secrets}, vendor, when)
	if err != nil {
		return nil, in.stale(err)
	}
	return withETag(e.Revision, created, a.viewSource(&e, in.Origin)), nil
}

// hook takes a vendor's webhook: verified, on disk, then answered.
func (a *api) hook(w http.ResponseWriter, r *http.Request) {
	if err := a.takeHook(w, r); err != nil {
		a.problem(err).Write(w)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *api) takeHook(w http.ResponseWriter, r *http.Request) error {
	e, err := a.Catalog.Hook(r.Context(), r.PathValue("token"))
	if err != nil {
		return err
	}
	vendor, ok := a.Vendors.Lookup(e.Value.Vendor)
	if !ok {
		return web.NewProblem(http.StatusNotFound, "This server does not know the vendor of this source any more.")
	}
	owner, err := a.Catalog.Tenant(r.Context(), e.Tenant)
	if err != nil {
		return err
	}
	visit, err := a.Door.Admit(w.Header(), a.senderOf(&owner, e.Slug), r.ContentLength)
	if err != nil {
		return err
	}
	defer visit.End()
	raw, err := visit.ReadBody(w, r, source.MaxRequestBytes)
	if err != nil {
		return err
	}
	now := a.Now().UTC()
	events, err := source.Receive(vendor, e.Value.Secrets, r.Header, raw, now)
	if err != nil {
		return refusal(err)
	}
	return visit.TakeVerified(r.Context(), e.Slug, events)
}

// refusal answers a webhook that was not taken.
func refusal(err error) error {
	var r *source.Refusal
	if !errors.As(err, &r) {
		return err
	}
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, source.ErrUnverified):
		status = http.StatusUnauthorized
	case errors.Is(err, source.ErrMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, source.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	}
	p := web.NewProblem(status, r.Detail)
	p.Code = r.Code
	return p
}

func (a *api) describeHook(tag string) {
	problem := map[string]*huma.MediaType{"application/problem+json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(typeOf[web.Problem](), true, "Problem")}}
	answers := map[string]*huma.Response{"202": {Description: "Verified and on disk."}}
	for status, what := range map[string]string{"400": "The body is not what the vendor sends.", "401": "The signature is missing, wrong or too old.",
		"404": "There is no such source.", "413": "Too large.", "422": "It makes no event.", "429": "Over the limit.", "503": "Back-pressure: send again later."} {
		answers[status] = &huma.Response{Description: what, Content: problem}
	}
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "receive-webhook", Method: http.MethodPost, Path: "/v1/hooks/{token}", Tags: []string{tag}, Summary: "Where a vendor sends its webhooks",
		Description: "The vendor's signature over the body is the credential.",
		Parameters:  []*huma.Param{{Name: "token", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}}},
		Responses:   answers,
	})
}
