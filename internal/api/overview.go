package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store"
)

type overviewInput struct {
	Window string `query:"window" doc:"Whole minutes, 1m to 24h; 15m when missing." example:"15m"`
	raw    url.Values
}

// Resolve keeps the query string, which package query reads.
func (q *overviewInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	q.raw = u.Query()
	return nil
}

func (a *api) overviewRoutes() {
	register(a, operation{method: http.MethodGet, path: "/v1/overview", id: "get-overview", query: true, tag: "Overview", permission: auth.MetricsRead,
		summary: "Every source at a glance"}, a.overview)
}

func (a *api) overview(ctx context.Context, p auth.Principal, in *overviewInput) (*body[overviewView], error) {
	window, errs := query.ParseWindow(in.raw)
	if len(errs) > 0 {
		return nil, queryProblem(errs)
	}
	sources, err := a.Catalog.Sources(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	defs, err := a.Registry.Tenant(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	firing, err := a.Events.Incidents(ctx, p.Tenant, store.IncidentQuery{State: "firing", Limit: 1000})
	if err != nil {
		return nil, err
	}
	bySlug := map[string]*catalog.Entry[catalog.Source]{}
	q := query.OverviewQuery{Window: window, Now: a.Now().UTC(), OpenIncidents: len(firing)}
	for i := range sources {
		bySlug[sources[i].Slug] = &sources[i]
		q.Sources = append(q.Sources, sources[i].Slug)
	}
	q.About = func(name string) query.About {
		about := query.About{Name: name}
		var vendor *source.Vendor
		if e := bySlug[name]; e != nil {
			about.Vendor = e.Value.Vendor
			vendor, _ = a.Vendors.Lookup(e.Value.Vendor)
			switch {
			case e.Value.Name != "":
				about.Name = e.Value.Name
			case vendor != nil && name == vendor.Slug:
				about.Name = vendor.Name
			}
		}
		if vendor != nil {
			about.Health = health(vendor, name, defs.Metrics)
		}
		for i := range firing {
			if concerns(&firing[i], name, vendor, defs.Metrics) {
				about.Firing = append(about.Firing, firing[i].Severity)
			}
		}
		return about
	}
	out, err := a.Query.Overview(ctx, p.Tenant, q)
	if err != nil {
		return nil, err
	}
	return &body[overviewView]{overviewView{out}}, nil
}

// health is a vendor's way to tell failures, for one source, if the tenant still has the metrics for it.
func health(v *source.Vendor, name string, metrics *metric.Set) *query.Health {
	pick := func(s source.Selection) (query.Metric, bool) {
		program, ok := metrics.BySlug(s.Metric)
		if !ok {
			return query.Metric{}, false
		}
		where := map[string][]string{}
		for dim, values := range s.Where {
			where[dim] = values
		}
		dims := program.Dimensions()
		if slices.Contains(dims, "source") {
			where["source"] = []string{name}
		}
		for dim := range where {
			if !slices.Contains(dims, dim) {
				return query.Metric{}, false // somebody has changed the standard metric
			}
		}
		return query.Metric{Def: program.Definition(), Where: where}, true
	}
	failed, ok := pick(v.Health.Errors)
	total, ok2 := pick(v.Health.Total)
	if !ok || !ok2 {
		return nil
	}
	return &query.Health{Failed: failed, Total: total}
}

// concerns says whether an incident is about a source: it names it, or its metric is a standard one of the source's vendor.
func concerns(in *alert.Incident, name string, vendor *source.Vendor, metrics *metric.Set) bool {
	if named, ok := in.Labels["source"]; ok {
		return named == name
	}
	program, ok := metrics.BySlug(in.Metric)
	return ok && vendor != nil && program.Definition().Vendor == vendor.Slug
}
