package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/web"
)

// ruleFields is a rule as the API shows and takes it.
type ruleFields struct {
	Slug      string            `json:"slug,omitempty"`
	Name      string            `json:"name,omitempty"`
	Metric    string            `json:"metric" doc:"The slug of a metric." example:"stripe-payments"`
	Agg       string            `json:"agg,omitempty" doc:"As in a query; count when missing." example:"rate"`
	GroupBy   []string          `json:"group_by,omitempty" doc:"Dimensions: each of their values has incidents of its own."`
	Where     map[string]string `json:"where,omitempty" doc:"The value that a dimension must have."`
	Window    string            `json:"window,omitempty" doc:"The span of time looked at, 10s to 24h; 5m when missing." example:"5m"`
	Condition conditionFields   `json:"condition"`
	For       string            `json:"for,omitempty" doc:"How long the condition must hold before the rule fires, up to 24h." example:"1m"`
	Severity  string            `json:"severity,omitempty" enum:"critical,warning,info" doc:"warning when missing."`
	Channels  []string          `json:"channels,omitempty" doc:"Slugs of the channels that are told."`
	NoData    string            `json:"no_data,omitempty" enum:"ok,keep,alert" doc:"What an empty window means for a value that then does not exist: all is well (when missing), as it was, or bad."`
	Labels    map[string]string `json:"labels,omitempty" doc:"Put on every incident."`
	Summary   string            `json:"summary,omitempty" doc:"What to tell people."`
	Enabled   *bool             `json:"enabled,omitempty" doc:"true when missing."`
}

type conditionFields struct {
	Type  string   `json:"type" enum:"threshold"`
	Op    string   `json:"op" enum:">,>=,<,<=,==,!="`
	Value float64  `json:"value"`
	Clear *float64 `json:"clear,omitempty" doc:"A firing rule is good again only on the good side of this."`
}

type ruleView struct {
	ruleFields
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func viewRule(r *alert.Rule) ruleView {
	v := ruleView{CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ruleFields: ruleFields{
		Slug: r.Slug, Name: r.Name, Metric: r.Metric, Agg: string(r.Agg), GroupBy: r.GroupBy, Where: r.Where, Window: r.Window.String(),
		Condition: conditionFields(r.Condition), For: r.For.String(), Severity: r.Severity, Channels: r.Channels, NoData: r.NoData,
		Labels: r.Labels, Summary: r.Summary, Enabled: &r.Enabled,
	}}
	if v.Name == "" {
		v.Name = r.Slug
	}
	if v.GroupBy == nil {
		v.GroupBy = []string{}
	}
	if v.Channels == nil {
		v.Channels = []string{}
	}
	return v
}

// ruleBody is read by package alert, which has more to say about what is wrong than a schema.
type ruleBody struct{ raw json.RawMessage }

// UnmarshalJSON keeps the text.
func (b *ruleBody) UnmarshalJSON(raw []byte) error {
	b.raw = append(b.raw[:0], raw...)
	return nil
}

// Schema documents it without checking anything.
func (b ruleBody) Schema(r huma.Registry) *huma.Schema {
	return describedBy[ruleFields](r, "Rule", true)
}

func (a *api) ruleRoutes() {
	const tag = "Rules"
	register(a, operation{method: http.MethodGet, path: "/v1/rules", id: "list-rules", tag: tag, permission: auth.RulesRead, summary: "All rules"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[ruleView]], error) {
			entries, err := a.Catalog.Rules(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			return listOf(entries, func(e *catalog.Entry[alert.Rule]) (ruleView, error) { return viewRule(&e.Value), nil })
		})
	register(a, operation{method: http.MethodGet, path: "/v1/rules/{slug}", id: "get-rule", tag: tag, permission: auth.RulesRead,
		summary: "One rule", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *SlugPath) (*versioned[ruleView], error) {
			e, err := a.Catalog.Rule(ctx, p.Tenant, in.Slug)
			if err != nil {
				return nil, err
			}
			return withETag(e.Revision, false, viewRule(&e.Value)), nil
		})
	register(a, operation{method: http.MethodPut, path: "/v1/rules/{slug}", id: "put-rule", tag: tag, permission: auth.RulesWrite,
		summary: "Make or change a rule", errors: []int{http.StatusPreconditionFailed}}, a.putRule)
	registerDelete(a, operation{path: "/v1/rules/{slug}", id: "delete-rule", tag: tag, permission: auth.RulesWrite, summary: "Remove a rule; what fires is resolved"}, a.Catalog.DeleteRule)
}

func (a *api) putRule(ctx context.Context, p auth.Principal, in *struct {
	SlugPath
	Conditional
	Body ruleBody
}) (*versioned[ruleView], error) {
	rule, errs := alert.ParseRule(in.Body.raw)
	when, err := in.begin(in.Slug, rule.Slug)
	if err != nil {
		return nil, err
	}
	rule.Slug, rule.Tenant = in.Slug, p.Tenant
	if errs, err = a.checkRule(ctx, &rule, errs); err != nil {
		return nil, err
	}
	if len(errs) > 0 {
		problem := unprocessable("The rule is not right.")
		for _, e := range errs {
			at := "body"
			if e.Location != "" {
				at += "." + e.Location
			}
			problem.Errors = append(problem.Errors, web.FieldError{Location: at, Message: e.Message})
		}
		return nil, problem
	}
	if err := a.mayAddRule(ctx, p.Tenant, rule.Slug); err != nil {
		return nil, err
	}
	e, created, err := a.Catalog.PutRule(ctx, rule, when)
	if err != nil {
		return nil, in.stale(err)
	}
	return withETag(e.Revision, created, viewRule(&e.Value)), nil
}

// checkRule adds to errs what is wrong with a rule in view of the metrics and channels that there are.
func (a *api) checkRule(ctx context.Context, rule *alert.Rule, errs []alert.FieldError) ([]alert.FieldError, error) {
	defs, err := a.Registry.Tenant(ctx, rule.Tenant)
	if err != nil {
		return nil, err
	}
	program, known := defs.Metrics.BySlug(rule.Metric)
	var dims []string
	if known {
		dims = program.Dimensions()
	}
	if len(errs) == 0 {
		errs = rule.Validate(known, dims)
	}
	for _, slug := range rule.Channels {
		_, err := a.Catalog.Channel(ctx, rule.Tenant, slug)
		switch {
		case isNotFound(err):
			errs = append(errs, alert.FieldError{Location: "channels", Message: "there is no channel " + slug + ": make it first"})
		case err != nil:
			return nil, err
		}
	}
	return errs, nil
}
