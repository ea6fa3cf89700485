package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// metricInput is what people say of a metric.
type metricInput struct {
	Slug        string            `json:"slug,omitempty" maxLength:"63" doc:"Its name in URLs and rules." example:"revenue"`
	Name        string            `json:"name,omitempty" maxLength:"200" example:"Revenue"`
	Description string            `json:"description,omitempty" maxLength:"2000"`
	Unit        string            `json:"unit,omitempty" maxLength:"32" example:"usd"`
	EventTypes  []string          `json:"event_types,omitempty" doc:"Types it is about; one may end in *. None: every type." example:"[\"charge.succeeded\"]"`
	Filter      string            `json:"filter,omitempty" doc:"A CEL condition over the event." example:"data.livemode == true"`
	Value       string            `json:"value,omitempty" doc:"A CEL number over the event. Without it the metric counts." example:"data.amount / 100.0"`
	Dimensions  map[string]string `json:"dimensions,omitempty" doc:"CEL over the event by name: what the metric may be split by."`
}

type fillView struct {
	State    string  `json:"state" enum:"pending,running,done"`
	Progress float64 `json:"progress" doc:"From 0 to 1."`
}

type metricView struct {
	Slug        string            `json:"slug"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Unit        string            `json:"unit"`
	EventTypes  []string          `json:"event_types"`
	Filter      string            `json:"filter"`
	Value       string            `json:"value"`
	Dimensions  map[string]string `json:"dimensions"`
	Builtin     bool              `json:"builtin"`
	Vendor      string            `json:"vendor" doc:"The vendor whose standard metric it is."`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	Fill        fillView          `json:"fill" doc:"How far it has been computed from events that were stored before it."`
	Dropped     uint64            `json:"series_dropped" doc:"Observations of the last 30 days that count under __other__, because the metric has more series than it may."`
}

// view is a metric as the API shows it.
func (a *api) viewMetric(ctx context.Context, d *metric.Definition, fills map[int64]store.Fill) (metricView, error) {
	v := viewMetric(d, fills)
	if len(d.Dimensions) == 0 {
		return v, nil
	}
	const day = 24 * time.Hour
	now := a.Now()
	q := store.RollupQuery{Metric: d.ID, Step: day, From: series.Align(now.Add(-30*day), day), To: now.Add(day), Scalars: true, Where: map[int][]string{0: {series.OtherValue}}}
	err := a.Events.Rollups(ctx, d.Tenant, q, func(r *series.Rollup) error {
		v.Dropped += r.Agg.Count
		return nil
	})
	return v, err
}

func viewMetric(d *metric.Definition, fills map[int64]store.Fill) metricView {
	v := metricView{
		Slug: d.Slug, Name: d.Name, Description: d.Description, Unit: d.Unit, EventTypes: d.EventTypes, Filter: d.Filter, Value: d.Value,
		Dimensions: d.Dimensions, Builtin: d.Builtin, Vendor: d.Vendor, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
		Fill: fillView{State: "pending"},
	}
	if v.Name == "" {
		v.Name = d.Slug
	}
	if v.EventTypes == nil {
		v.EventTypes = []string{}
	}
	if v.Dimensions == nil {
		v.Dimensions = map[string]string{}
	}
	if f, ok := fills[d.ID]; ok {
		switch {
		case f.Complete:
			v.Fill = fillView{State: "done", Progress: 1}
		case f.Upto.Seq > 0:
			v.Fill = fillView{State: "running", Progress: float64(f.Done.Seq) / float64(f.Upto.Seq)}
		}
	}
	return v
}

func (a *api) metricRoutes() {
	const tag = "Metrics"
	register(a, operation{method: http.MethodGet, path: "/v1/metrics", id: "list-metrics", tag: tag, permission: auth.MetricsRead,
		summary: "All metrics, the built-in one first"}, a.listMetrics)
	register(a, operation{method: http.MethodPost, path: "/v1/metrics", id: "create-metric", tag: tag, permission: auth.MetricsWrite,
		summary: "Make a metric", status: http.StatusCreated, errors: []int{http.StatusConflict}},
		func(ctx context.Context, p auth.Principal, in *struct{ Body metricInput }) (*versioned[metricView], error) {
			return a.putMetric(ctx, p, in.Body, Conditional{}, catalog.IfMissing)
		})
	register(a, operation{method: http.MethodGet, path: "/v1/metrics/{slug}", id: "get-metric", tag: tag, permission: auth.MetricsRead,
		summary: "One metric", errors: []int{http.StatusNotFound}}, a.getMetric)
	register(a, operation{method: http.MethodPut, path: "/v1/metrics/{slug}", id: "put-metric", tag: tag, permission: auth.MetricsWrite,
		summary:     "Make or change a metric",
		description: "A new metric, and one whose filter, value, dimensions or event types change, is filled from the events already stored.",
		errors:      []int{http.StatusConflict, http.StatusPreconditionFailed}},
		func(ctx context.Context, p auth.Principal, in *struct {
			SlugPath
			Conditional
			Body metricInput
		}) (*versioned[metricView], error) {
			when, err := in.begin(in.Slug, in.Body.Slug)
			if err != nil {
				return nil, err
			}
			in.Body.Slug = in.Slug
			return a.putMetric(ctx, p, in.Body, in.Conditional, when)
		})
	registerDelete(a, operation{path: "/v1/metrics/{slug}", id: "delete-metric", tag: tag, permission: auth.MetricsWrite, summary: "Remove a metric", errors: []int{http.StatusConflict}}, a.Catalog.DeleteMetric)
	register(a, operation{method: http.MethodGet, path: "/v1/metrics/{slug}/query", id: "query-metric", query: true, tag: tag, permission: auth.MetricsRead,
		summary: "A metric over time", description: "Points are `[unix_ms of the step's start, value or null]`.",
		errors: []int{http.StatusNotFound, http.StatusServiceUnavailable}}, a.queryMetric)
}

// fills is how far a tenant's metrics are filled, by generation.
func (a *api) fills(ctx context.Context, t tenant.ID) (map[int64]store.Fill, error) {
	state, err := a.Events.Partition(ctx, tenant.Partition(t, a.Partitions))
	if err != nil {
		return nil, err
	}
	out := map[int64]store.Fill{}
	for _, f := range state.Fills {
		if f.Tenant == t {
			out[f.Metric] = f
		}
	}
	return out, nil
}

func (a *api) listMetrics(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[metricView]], error) {
	entries, err := a.Catalog.Metrics(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	fills, err := a.fills(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	return listOf(entries, func(e *catalog.Entry[metric.Definition]) (metricView, error) {
		return a.viewMetric(ctx, &e.Value, fills)
	})
}

func (a *api) getMetric(ctx context.Context, p auth.Principal, in *SlugPath) (*versioned[metricView], error) {
	e, err := a.Catalog.Metric(ctx, p.Tenant, in.Slug)
	if err != nil {
		return nil, err
	}
	fills, err := a.fills(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	v, err := a.viewMetric(ctx, &e.Value, fills)
	return withETag(e.Revision, false, v), err
}

func (a *api) putMetric(ctx context.Context, p auth.Principal, in metricInput, c Conditional, when catalog.Condition) (*versioned[metricView], error) {
	def := metric.Definition{Tenant: p.Tenant, Slug: in.Slug, Name: in.Name, Description: in.Description, Unit: in.Unit,
		EventTypes: in.EventTypes, Filter: in.Filter, Value: in.Value, Dimensions: in.Dimensions}
	if _, err := metric.Compile(def); err != nil {
		return nil, err
	}
	e, created, err := a.Catalog.PutMetric(ctx, def, when)
	if err != nil {
		return nil, c.stale(err)
	}
	fills, err := a.fills(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	v, err := a.viewMetric(ctx, &e.Value, fills)
	return withETag(e.Revision, created, v), err
}

// queryInput hands the query string over as it is: package query reads it, and its rules are stated there once.
type queryInput struct {
	SlugPath
	From    string   `query:"from" doc:"Inclusive start, RFC 3339. An hour before to when missing."`
	To      string   `query:"to" doc:"Exclusive end, RFC 3339. Now when missing."`
	Step    string   `query:"step" doc:"Width of a point, such as 1m. Chosen when missing." example:"1m"`
	Agg     string   `query:"agg" doc:"count, sum, avg, min, max, last, unique, rate, p50, p90, p95 or p99. sum for a metric with a value, else count, when missing."`
	GroupBy string   `query:"group_by" doc:"Dimensions to split by, with commas between." example:"country,brand"`
	Where   []string `query:"where,explode" doc:"dimension:value; the same dimension twice means either."`
	Limit   string   `query:"limit" doc:"Most series to return, 20 when missing; the rest is folded into one labelled __other__."`
	Other   string   `query:"other" doc:"false leaves out the folded series."`
	raw     url.Values
}

// Resolve keeps the query string.
func (q *queryInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	q.raw = u.Query()
	return nil
}

func (a *api) queryMetric(ctx context.Context, p auth.Principal, in *queryInput) (*body[resultView], error) {
	defs, err := a.Registry.Tenant(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	program, ok := defs.Metrics.BySlug(in.Slug)
	if !ok {
		return nil, store.ErrNotFound
	}
	q, errs := query.Parse(in.raw, program.Definition(), a.Now())
	if len(errs) > 0 {
		return nil, queryProblem(errs)
	}
	result, err := a.Query.Run(ctx, p.Tenant, program, q)
	if err != nil {
		return nil, err
	}
	return &body[resultView]{resultView{result}}, nil
}

func queryProblem(errs []query.FieldError) *web.Problem {
	p := unprocessable("The query is not right.")
	for _, e := range errs {
		p.Errors = append(p.Errors, web.FieldError{Location: e.Location, Message: e.Message})
	}
	return p
}
