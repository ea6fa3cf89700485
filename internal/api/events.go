package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

func (a *api) eventRoutes() {
	const tag = "Events"
	a.describeIngest(tag)
	register(a, operation{method: http.MethodGet, path: "/v1/events", id: "list-events", query: true, tag: tag, permission: auth.EventsRead,
		summary: "Events, newest first"}, a.listEvents)
	register(a, operation{method: http.MethodGet, path: "/v1/events/{source}/{id}", id: "get-event", query: true, tag: tag, permission: auth.EventsRead,
		summary: "One event", errors: []int{http.StatusNotFound}}, a.getEvent)
}

// sender finds out whose events a request brings.
func (a *api) sender(r *http.Request) (ingest.Sender, error) {
	p, err := a.principal(r, auth.EventsWrite)
	if err != nil {
		return ingest.Sender{}, a.problem(err)
	}
	return a.senderFor(r.Context(), p)
}

func (a *api) senderFor(ctx context.Context, p auth.Principal) (ingest.Sender, error) {
	t, err := a.Catalog.Tenant(ctx, p.Tenant)
	if err != nil {
		return ingest.Sender{}, a.problem(err)
	}
	s := a.senderOf(&t, p.Name)
	s.Key, s.KeyRate = p.Subject, p.RateLimit
	return s, nil
}

func (a *api) senderOf(t *tenant.Tenant, name string) ingest.Sender {
	s := ingest.Sender{Tenant: t.ID, Name: name, Retention: t.Retention(), Rate: a.RateLimit, Quotas: t.Quotas}
	if t.RateLimit != nil {
		s.Rate = *t.RateLimit
	}
	return s
}

// TakesEvents says whether a request's target, as it is sent, is a path that takes events: of its own, or a webhook's.
func TakesEvents(target []byte) bool {
	const events, hooks = "/v1/events", "/v1/hooks/"
	if string(target) == events {
		return true
	}
	token, ok := bytes.CutPrefix(target, []byte(hooks))
	for _, c := range token {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-')
	}
	return ok && len(token) > 0
}

// eventInput documents an event for those who send it; the ingest path reads it by itself.
type eventInput struct {
	ID      string `json:"id,omitempty" maxLength:"1024" doc:"Made by the server when missing; with one, an event sent again is counted once."`
	Source  string `json:"source,omitempty" maxLength:"1024" doc:"Where it comes from; the key's name when missing."`
	Type    string `json:"type" maxLength:"1024" example:"order.paid"`
	Subject string `json:"subject,omitempty" maxLength:"1024" example:"order-1042"`
	Time    string `json:"time,omitempty" format:"date-time" doc:"When it happened; now when missing."`
	Data    any    `json:"data,omitempty" doc:"Any JSON value."`
}

// describeIngest puts the hand-written ingest endpoint into the OpenAPI document.
func (a *api) describeIngest(tag string) {
	schemas := a.huma.OpenAPI().Components.Schemas
	one := schemas.Schema(typeOf[eventInput](), true, "Event")
	if s := schemas.Map()["EventInput"]; s != nil {
		s.AdditionalProperties = true
	}
	many := &huma.Schema{Type: huma.TypeArray, Items: one, MaxItems: ptr(event.MaxPerRequest)}
	media := func(s *huma.Schema) *huma.MediaType { return &huma.MediaType{Schema: s} }
	problem := map[string]*huma.MediaType{"application/problem+json": media(schemas.Schema(typeOf[web.Problem](), true, "Problem"))}
	answer := func(what string) *huma.Response { return &huma.Response{Description: what, Content: problem} }
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "send-events", Method: http.MethodPost, Path: "/v1/events", Tags: []string{tag}, Summary: "Send events",
		Description: "Answers once what is accepted is on disk. At most 10 000 events and 16 MiB a request, 256 KiB and 32 levels of nesting an event. " +
			"`Content-Encoding` may be gzip or zstd. A CloudEvent in binary mode has its attributes in `ce-` headers.\n\nNeeds the permission `events:write`.",
		Extensions: takes(auth.EventsWrite),
		Security:   []map[string][]string{{"bearer": {}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json":                   media(&huma.Schema{OneOf: []*huma.Schema{one, many}}),
			"application/cloudevents+json":       media(one),
			"application/cloudevents-batch+json": media(many),
			"application/x-ndjson":               media(&huma.Schema{Type: huma.TypeString, Description: "One JSON event a line."}),
		}},
		Responses: map[string]*huma.Response{
			"202": {Description: "What was accepted is on disk.", Content: map[string]*huma.MediaType{
				"application/json": media(schemas.Schema(typeOf[ingest.Receipt](), true, "Receipt"))}},
			"400": answer("The body could not be read; nothing was taken."), "401": answer("No or bad credentials."), "403": answer("Not allowed."),
			"413": answer("Too large."), "415": answer("Unknown media type."), "422": answer("All events are invalid."),
			"429": answer("Over the limit."), "503": answer("Back-pressure: send again later."),
		},
	})
}

func ptr[T any](v T) *T { return &v }

type listEventsInput struct {
	Type    []string `query:"type,explode" doc:"A type, which may end in * for all that begin so. Repeat it for several: any of them."`
	Source  string   `query:"source"`
	ID      string   `query:"id" doc:"Together with source it names an event whose source or id no path can hold, such as a single slash."`
	Subject string   `query:"subject"`
	From    string   `query:"from" doc:"Inclusive, RFC 3339, by the event's time."`
	To      string   `query:"to" doc:"Exclusive, RFC 3339."`
	Limit   int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor  string   `query:"cursor" doc:"next_cursor of the page before."`
}

func (a *api) listEvents(ctx context.Context, p auth.Principal, in *listEventsInput) (*body[list[eventView]], error) {
	page := store.Page{EventFilter: store.EventFilter{Types: in.Type, Source: in.Source, ID: in.ID, Subject: in.Subject}, Limit: in.Limit + 1}
	var errs []web.FieldError
	at := func(name, s string) (t time.Time) {
		if s == "" {
			return t
		}
		t, err := query.ParseTime(s)
		if err != nil {
			errs = append(errs, web.FieldError{Location: "query." + name, Message: err.Error()})
		}
		return t
	}
	page.From, page.To = at("from", in.From), at("to", in.To)
	if in.Cursor != "" {
		c, ok := decodeEventCursor(in.Cursor)
		if !ok {
			errs = append(errs, web.FieldError{Location: "query.cursor", Message: "it is not a cursor of this list: leave it out to begin at the newest"})
		}
		page.After = &c
	}
	if len(errs) > 0 {
		return nil, unprocessable("The query is not right.", errs...)
	}
	stored, err := a.Events.Page(ctx, p.Tenant, page)
	if err != nil {
		return nil, err
	}
	out := list[eventView]{Data: make([]eventView, 0, len(stored))}
	if len(stored) > in.Limit {
		stored = stored[:in.Limit]
		last := &stored[in.Limit-1]
		out.Next = encodeEventCursor(store.Cursor{Time: last.Time, Position: last.Position})
	}
	for i := range stored {
		out.Data = append(out.Data, eventView{stored[i].Event})
	}
	return &body[list[eventView]]{out}, nil
}

func (a *api) getEvent(ctx context.Context, p auth.Principal, in *struct {
	Source string `path:"source"`
	ID     string `path:"id"`
}) (*body[eventView], error) {
	stored, err := a.Events.Event(ctx, p.Tenant, in.Source, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[eventView]{eventView{stored.Event}}, nil
}
