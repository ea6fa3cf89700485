package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/usage"
	"github.com/pulsestream/pulsestream/internal/web"
)

// usageFigures are what is counted.
type usageFigures struct {
	Events        int64 `json:"events" doc:"Events stored, each once, by when they were received."`
	Bytes         int64 `json:"bytes" doc:"Their size: id, source, type, subject, data and extension attributes, as UTF-8."`
	Series        int64 `json:"series" doc:"Series that had an event in an hour; of a longer time, the most of any hour."`
	Queries       int64 `json:"queries" doc:"Answered questions for points, events and the overview, and reports ordered."`
	Notifications int64 `json:"notifications" doc:"Notifications delivered."`
}

func figures(u *store.Usage) usageFigures {
	return usageFigures{Events: u.Events, Bytes: u.Bytes, Series: u.Series, Queries: u.Queries, Notifications: u.Notifications}
}

type usageRow struct {
	Start time.Time `json:"start" doc:"When the step begins."`
	usageFigures
}

type tenantUsageRow struct {
	Tenant tenant.ID `json:"tenant"`
	usageRow
}

type quotaView struct {
	Limit    int64      `json:"limit"`
	Used     int64      `json:"used"`
	ResetsAt *time.Time `json:"resets_at,omitempty" doc:"When it begins anew: the next month, UTC. Absent where it does not."`
}

type usageView struct {
	From   time.Time            `json:"from"`
	To     time.Time            `json:"to"`
	Step   string               `json:"step"`
	Data   []usageRow           `json:"data" doc:"The steps in which anything was used, oldest first."`
	Total  usageFigures         `json:"total"`
	Quotas map[string]quotaView `json:"quotas" doc:"The tenant's quotas by their names: events_per_month, bytes_per_month, series, rules. What has none is absent."`
}

type allUsageView struct {
	From  time.Time        `json:"from"`
	To    time.Time        `json:"to"`
	Step  string           `json:"step"`
	Data  []tenantUsageRow `json:"data" doc:"By tenant, then oldest first."`
	Total usageFigures     `json:"total" doc:"Of all tenants; series are the most that one had in an hour."`
}

// UsageRange is which usage is asked for.
type UsageRange struct {
	From   time.Time `query:"from" doc:"From the step that this falls into; the beginning of this month when missing (UTC)."`
	To     time.Time `query:"to" doc:"Up to the step before this; now when missing."`
	Step   string    `query:"step" enum:"hour,day" default:"day"`
	Format string    `query:"format" enum:"json,csv" default:"json"`
}

// Bounds of what is asked for at once.
const (
	mostUsageHours = 92 * 24
	mostUsageDays  = 800
)

// usageOutput is JSON, or the text of a table.
type usageOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        any
}

func (a *api) usageRoutes() {
	const csvToo = "With `format=csv` it is a table with a line for each row of `data`."
	register(a, operation{method: http.MethodGet, path: "/v1/usage", id: "get-usage", tag: "Tenant", permission: auth.UsageRead,
		summary: "What the tenant has used, and may use", description: csvToo}, a.getUsage)
	describeUsage[usageView](a, "/v1/usage", "Usage")
	register(a, operation{method: http.MethodGet, path: "/v1/admin/usage", id: "get-all-usage", tag: "Installation", permission: auth.TenantsManage,
		summary: "What all tenants have used", description: csvToo}, a.getAllUsage)
	describeUsage[allUsageView](a, "/v1/admin/usage", "AllUsage")
}

// describeUsage says what the answer looks like, which the handler writes in either form.
func describeUsage[T any](a *api, path, name string) {
	doc := a.huma.OpenAPI()
	doc.Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json": {Schema: doc.Components.Schemas.Schema(typeOf[T](), true, name)},
		"text/csv":         {Schema: &huma.Schema{Type: huma.TypeString}},
	}
}

// steps are the bounds of what is asked for, on whole steps, and how long a step is.
func (in *UsageRange) steps(now time.Time) (from, to time.Time, step time.Duration, err error) {
	step, most := 24*time.Hour, mostUsageDays
	if in.Step == "hour" {
		step, most = time.Hour, mostUsageHours
	}
	from, to = in.From.UTC(), in.To.UTC()
	if in.To.IsZero() {
		to = now.UTC()
	}
	if in.From.IsZero() {
		from, _ = usage.Month(to)
	}
	from, to = from.Truncate(step), to.Add(step-1).Truncate(step)
	switch {
	case !from.Before(to):
		return from, to, step, unprocessable("The range is not right.", web.FieldError{Location: "query.to", Message: "give a time that is after from"})
	case to.Sub(from)/step > time.Duration(most):
		return from, to, step, unprocessable("The range is too long.", web.FieldError{Location: "query.from", Message: "ask for at most " + strconv.Itoa(most) + " steps at once"})
	}
	return from, to, step, nil
}

func (a *api) getUsage(ctx context.Context, p auth.Principal, in *UsageRange) (*usageOutput, error) {
	from, to, step, err := in.steps(a.Now())
	if err != nil {
		return nil, err
	}
	hours, err := a.Usage.Rows(ctx, p.Tenant, from, to)
	if err != nil {
		return nil, err
	}
	rows := usage.Steps(hours, step)
	if in.Format == "csv" {
		return usageTable(rows, false), nil
	}
	total := usage.Total(hours)
	view := usageView{From: from, To: to, Step: in.Step, Data: make([]usageRow, 0, len(rows)), Total: figures(&total)}
	for i := range rows {
		view.Data = append(view.Data, usageRow{rows[i].Hour, figures(&rows[i])})
	}
	if view.Quotas, err = a.quotas(ctx, p.Tenant); err != nil {
		return nil, err
	}
	return &usageOutput{ContentType: "application/json", Body: view}, nil
}

func (a *api) getAllUsage(ctx context.Context, _ auth.Principal, in *UsageRange) (*usageOutput, error) {
	from, to, step, err := in.steps(a.Now())
	if err != nil {
		return nil, err
	}
	hours, err := a.Usage.Rows(ctx, "", from, to)
	if err != nil {
		return nil, err
	}
	rows := usage.Steps(hours, step)
	if in.Format == "csv" {
		return usageTable(rows, true), nil
	}
	total := usage.Total(hours)
	view := allUsageView{From: from, To: to, Step: in.Step, Data: make([]tenantUsageRow, 0, len(rows)), Total: figures(&total)}
	for i := range rows {
		view.Data = append(view.Data, tenantUsageRow{rows[i].Tenant, usageRow{rows[i].Hour, figures(&rows[i])}})
	}
	return &usageOutput{ContentType: "application/json", Body: view}, nil
}

// usageTable is rows as CSV.
func usageTable(rows []store.Usage, tenants bool) *usageOutput {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	line := []string{"start", "events", "bytes", "series", "queries", "notifications"}
	if tenants {
		line = append([]string{"tenant"}, line...)
	}
	_ = w.Write(line) // a buffer takes everything
	for i := range rows {
		u := &rows[i]
		line = line[:0]
		if tenants {
			line = append(line, string(u.Tenant))
		}
		line = append(line, u.Hour.Format(time.RFC3339))
		for _, n := range []int64{u.Events, u.Bytes, u.Series, u.Queries, u.Notifications} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		_ = w.Write(line)
	}
	w.Flush()
	return &usageOutput{ContentType: "text/csv; charset=utf-8", Disposition: `attachment; filename="usage.csv"`, Body: text.Bytes()}
}

// quotas are a tenant's, with how much of them is used.
func (a *api) quotas(ctx context.Context, t tenant.ID) (map[string]quotaView, error) {
	owner, err := a.Catalog.Tenant(ctx, t)
	if err != nil {
		return nil, err
	}
	out, q := map[string]quotaView{}, owner.Quotas
	if q.Monthly() {
		month, next := usage.Month(a.Now())
		hours, err := a.Usage.Rows(ctx, t, month, a.Now().Add(time.Hour))
		if err != nil {
			return nil, err
		}
		total := usage.Total(hours)
		if q.EventsPerMonth != nil {
			out["events_per_month"] = quotaView{Limit: *q.EventsPerMonth, Used: total.Events, ResetsAt: &next}
		}
		if q.BytesPerMonth != nil {
			out["bytes_per_month"] = quotaView{Limit: *q.BytesPerMonth, Used: total.Bytes, ResetsAt: &next}
		}
	}
	if q.Series != nil {
		n, err := a.Usage.Series(ctx, t, a.Now())
		if err != nil {
			return nil, err
		}
		out["series"] = quotaView{Limit: *q.Series, Used: n}
	}
	if q.Rules != nil {
		rules, err := a.Catalog.Rules(ctx, t)
		if err != nil {
			return nil, err
		}
		out["rules"] = quotaView{Limit: *q.Rules, Used: int64(len(rules))}
	}
	return out, nil
}

// mayAddRule refuses a rule beyond the tenant's quota. Two that are made at the same moment may both still be let in.
func (a *api) mayAddRule(ctx context.Context, t tenant.ID, slug string) error {
	owner, err := a.Catalog.Tenant(ctx, t)
	if err != nil || owner.Quotas.Rules == nil {
		return err
	}
	rules, err := a.Catalog.Rules(ctx, t)
	if err != nil {
		return err
	}
	for i := range rules {
		if rules[i].Slug == slug {
			return nil
		}
	}
	if int64(len(rules)) < *owner.Quotas.Rules {
		return nil
	}
	p := unprocessable("This tenant has as many rules as its quota allows, " + strconv.FormatInt(*owner.Quotas.Rules, 10) + ": remove one, or ask the operator of the installation for more.")
	p.Code = "quota_exceeded"
	return p
}

// asked counts a question that was answered.
func (a *api) asked(t tenant.ID) {
	if a.Meter != nil {
		a.Meter.Query(t)
	}
}
