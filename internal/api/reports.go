package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/web"
)

// oneOrMany is a text or a list of texts.
type oneOrMany []string

// UnmarshalJSON reads either.
func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(o))
	}
	var s string
	err := json.Unmarshal(b, &s)
	if *o = nil; s != "" {
		*o = oneOrMany{s}
	}
	return err
}

// Schema says so.
func (oneOrMany) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString, MaxLength: ptr(1024)}
	return &huma.Schema{OneOf: []*huma.Schema{text, {Type: huma.TypeArray, Items: text, MaxItems: ptr(100)}}}
}

type reportQuery struct {
	Type    oneOrMany           `json:"type,omitempty" doc:"Events: a type, which may end in * for all that begin so, or several."`
	Source  string              `json:"source,omitempty" maxLength:"1024" doc:"Events: their source."`
	Subject string              `json:"subject,omitempty" maxLength:"1024" doc:"Events: their subject."`
	Metric  string              `json:"metric,omitempty" maxLength:"63" doc:"A metric: its slug; with it the parameters of its query."`
	Agg     string              `json:"agg,omitempty" maxLength:"32"`
	Step    string              `json:"step,omitempty" maxLength:"32"`
	GroupBy []string            `json:"group_by,omitempty" maxItems:"32"`
	Where   map[string][]string `json:"where,omitempty"`
	Limit   int                 `json:"limit,omitempty" minimum:"0"`
}

type reportInput struct {
	Kind   string      `json:"kind" enum:"events,metric"`
	Format string      `json:"format" enum:"csv,parquet"`
	From   string      `json:"from,omitempty" maxLength:"64" doc:"Inclusive, RFC 3339. Of events: from the first when missing."`
	To     string      `json:"to,omitempty" maxLength:"64" doc:"Exclusive, RFC 3339. Up to the present when missing."`
	Query  reportQuery `json:"query,omitempty"`
}

type reportView struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind" enum:"events,metric"`
	Format     string     `json:"format" enum:"csv,parquet"`
	State      string     `json:"state" enum:"queued,running,done,failed"`
	Progress   float64    `json:"progress" doc:"From 0 to 1; 1 when it is done."`
	Rows       int64      `json:"rows"`
	Bytes      int64      `json:"bytes"`
	Reason     string     `json:"reason,omitempty" doc:"Why it failed, and what to do."`
	Incomplete bool       `json:"incomplete,omitempty" doc:"The store was being rebuilt meanwhile: events may be missing."`
	URL        string     `json:"url,omitempty" doc:"The file. It needs no credentials, and is good until url_expires_at; reading the report gives another."`
	URLUntil   *time.Time `json:"url_expires_at,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"When it is removed; sooner when many are ordered after it."`
}

func (a *api) viewReport(r *report.Report, o Origin) reportView {
	v := reportView{ID: r.ID, Kind: string(r.Kind), Format: string(r.Format), State: string(r.State), Progress: r.Progress, Rows: r.Rows, Bytes: r.Bytes,
		Reason: r.Reason, Incomplete: r.Incomplete, CreatedAt: r.CreatedAt}
	if at := r.ExpiresAt(); !at.IsZero() {
		v.FinishedAt, v.ExpiresAt = &r.FinishedAt, &at
	}
	if r.State == report.Done {
		parameters, until := a.Reports.Address(r)
		v.URL, v.URLUntil = a.base(o.request)+"/v1/reports/"+r.ID+"/file?"+parameters.Encode(), ptr(until.UTC())
	}
	return v
}

// ReportPath is the path of a report.
type ReportPath struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *api) reportRoutes() {
	const tag = "Reports"
	register(a, operation{method: http.MethodPost, path: "/v1/reports", id: "order-report", query: true, tag: tag, permission: auth.ReportsWrite,
		summary: "Order a report", status: http.StatusAccepted, errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
		description: "Events come in the order in which they were taken. In CSV a text that a spreadsheet could take for a formula has an apostrophe before it; " +
			"Parquet has every byte as it was sent."}, a.orderReport)
	register(a, operation{method: http.MethodGet, path: "/v1/reports", id: "list-reports", tag: tag, permission: auth.ReportsRead, summary: "Reports, newest first"},
		func(_ context.Context, p auth.Principal, in *struct{ Origin }) (*body[list[reportView]], error) {
			all := a.Reports.List(p.Tenant)
			out := list[reportView]{Data: make([]reportView, 0, len(all))}
			for i := range all {
				out.Data = append(out.Data, a.viewReport(&all[i], in.Origin))
			}
			return &body[list[reportView]]{out}, nil
		})
	register(a, operation{method: http.MethodGet, path: "/v1/reports/{id}", id: "get-report", tag: tag, permission: auth.ReportsRead,
		summary: "How far a report is, and where its file is", errors: []int{http.StatusNotFound}},
		func(_ context.Context, p auth.Principal, in *struct {
			ReportPath
			Origin
		}) (*body[reportView], error) {
			r, err := a.Reports.Get(p.Tenant, in.ID)
			if err != nil {
				return nil, reportProblem(err)
			}
			return &body[reportView]{a.viewReport(&r, in.Origin)}, nil
		})
	a.mux.HandleFunc("GET /v1/reports/{id}/file", a.downloadReport)
	a.describeDownload(tag)
}

// order reads what is asked for, and says what is wrong with it.
func (in *reportInput) order() (report.Order, []web.FieldError) {
	o := report.Order{Kind: report.Kind(in.Kind), Format: report.Format(in.Format)}
	var errs []web.FieldError
	at := func(name, s string) (t time.Time) {
		if s == "" {
			return t
		}
		t, err := query.ParseTime(s)
		if err != nil {
			errs = append(errs, web.FieldError{Location: "body." + name, Message: err.Error()})
		}
		return t
	}
	o.From, o.To = at("from", in.From), at("to", in.To)
	if len(errs) == 0 && !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		errs = append(errs, web.FieldError{Location: "body.from", Message: "it must be before to"})
	}
	q := &in.Query
	foreign := func(name string, there bool) {
		if there {
			errs = append(errs, web.FieldError{Location: "body.query." + name, Message: "a report of kind " + in.Kind + " has no such condition: leave it out"})
		}
	}
	if o.Kind == report.Events {
		for name, there := range map[string]bool{"metric": q.Metric != "", "agg": q.Agg != "", "step": q.Step != "", "group_by": len(q.GroupBy) > 0,
			"where": len(q.Where) > 0, "limit": q.Limit != 0} {
			foreign(name, there)
		}
		o.Types, o.Source, o.Subject = q.Type, q.Source, q.Subject
		return o, errs
	}
	for name, there := range map[string]bool{"type": len(q.Type) > 0, "source": q.Source != "", "subject": q.Subject != ""} {
		foreign(name, there)
	}
	if q.Metric == "" {
		errs = append(errs, web.FieldError{Location: "body.query.metric", Message: "name the metric"})
	}
	o.Metric, o.Parameters = q.Metric, q.parameters()
	return o, errs
}

// parameters are those of GET /v1/metrics/{slug}/query.
func (q *reportQuery) parameters() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("agg", q.Agg)
	set("step", q.Step)
	set("group_by", strings.Join(q.GroupBy, ","))
	if q.Limit > 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	for dimension, values := range q.Where {
		for _, value := range values {
			v.Add("where", dimension+":"+value)
		}
	}
	return v
}

func (a *api) orderReport(ctx context.Context, p auth.Principal, in *struct {
	Origin
	Body reportInput
}) (*body[reportView], error) {
	o, errs := in.Body.order()
	if len(errs) > 0 {
		return nil, unprocessable("The order is not right.", errs...)
	}
	if o.Kind == report.Metric {
		wrong, err := a.Reports.Check(ctx, p.Tenant, &o)
		switch {
		case errors.Is(err, report.ErrNotFound):
			return nil, unprocessable("The order is not right.", web.FieldError{Location: "body.query.metric", Message: "there is no such metric"})
		case err != nil:
			return nil, err
		case len(wrong) > 0:
			problem := unprocessable("The order is not right.")
			for _, e := range wrong {
				problem.Errors = append(problem.Errors, web.FieldError{Location: "body." + e.Location, Message: e.Message})
			}
			return nil, problem
		}
	}
	// What leaves with it is somebody's doing. It is written first: what cannot be recorded does not happen.
	if err := a.Audit.Note(ctx, p.Tenant, audit.Event{Action: "report.order", Kind: "report", Slug: in.Body.Kind, Details: in.Body}); err != nil {
		return nil, err
	}
	r, err := a.Reports.Order(p.Tenant, o)
	if err != nil {
		return nil, reportProblem(err)
	}
	return &body[reportView]{a.viewReport(&r, in.Origin)}, nil
}

// reportProblem turns what package report says into an answer.
func reportProblem(err error) error {
	switch {
	case errors.Is(err, report.ErrNotFound):
		return web.NewProblem(http.StatusNotFound, "There is no such report: it was removed, or never was.")
	case errors.Is(err, report.ErrForbidden):
		return web.NewProblem(http.StatusForbidden, "This is not the address of a report: read the report again, and take its url.")
	case errors.Is(err, report.ErrExpired):
		return web.NewProblem(http.StatusForbidden, "The address has expired: read the report again, and take its url.")
	case errors.Is(err, report.ErrTooMany):
		return web.NewProblem(http.StatusConflict, capitalised(err.Error())+".")
	case errors.Is(err, report.ErrNoRoom):
		p := web.NewProblem(http.StatusServiceUnavailable, capitalised(err.Error())+".")
		p.RetryAfter = time.Minute
		return p
	}
	return err
}

// downloadReport serves the file to whoever has its address; the address is the permission.
func (a *api) downloadReport(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Set("Referrer-Policy", "no-referrer")
	done, f, err := a.Reports.Download(r.PathValue("id"), r.URL.Query())
	if err != nil {
		a.problem(reportProblem(err)).Write(w)
		return
	}
	defer func() { _ = f.Close() }()
	h.Set("Content-Type", done.Format.ContentType())
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": done.Filename()}))
	h.Set("ETag", `"`+done.ID+`"`) // a file never changes
	http.ServeContent(w, r, "", done.FinishedAt, f)
}

// describeDownload puts the hand-written route into the OpenAPI document.
func (a *api) describeDownload(tag string) {
	file := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	parameter := func(name, in, what string) *huma.Param {
		return &huma.Param{Name: name, In: in, Required: true, Description: what, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "download-report", Method: http.MethodGet, Path: "/v1/reports/{id}/file", Tags: []string{tag}, Summary: "The file of a report",
		Description: "The address is the report's `url`; it needs no credentials. A part can be asked for with `Range`.",
		Parameters:  []*huma.Param{parameter("id", "path", "The report."), parameter("expires", "query", "As in the address."), parameter("signature", "query", "As in the address.")},
		Responses: map[string]*huma.Response{
			"200": {Description: "The file.", Content: map[string]*huma.MediaType{report.Parquet.ContentType(): {Schema: file}, "text/csv": {Schema: file}}},
			"206": {Description: "The part that was asked for."}, "403": {Description: "The address is wrong or has expired."}, "404": {Description: "The file is not there any more."},
		},
	})
}
