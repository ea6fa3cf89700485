package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/query"
)

// Some answers write their JSON themselves. These types say in the OpenAPI document what it looks like.

// describedBy is the schema of T. Lenient leaves the checking of what is required, of types and of members to the handler.
func describedBy[T any](r huma.Registry, name string, lenient bool) *huma.Schema {
	s := r.Schema(typeOf[T](), true, name)
	if !lenient {
		return s
	}
	fields := r.SchemaFromRef(s.Ref)
	doc := huma.Schema{Description: fields.Description, AdditionalProperties: true, Extensions: map[string]any{"x-schema": s.Ref}}
	return &doc
}

type eventView struct{ event.Event }

type eventDoc struct {
	ID         string    `json:"id"`
	Source     string    `json:"source"`
	Type       string    `json:"type"`
	Subject    string    `json:"subject,omitempty"`
	Time       time.Time `json:"time"`
	Data       any       `json:"data,omitempty" doc:"As it was sent."`
	ReceivedAt time.Time `json:"received_at" doc:"When it was on disk here."`
}

// Schema is eventDoc's, with extension attributes beside.
func (eventView) Schema(r huma.Registry) *huma.Schema {
	s := describedBy[eventDoc](r, "StoredEvent", false)
	r.SchemaFromRef(s.Ref).AdditionalProperties = true
	return s
}

type resultView struct{ query.Result }

type pointDoc [2]*float64

type seriesDoc struct {
	Labels map[string]string `json:"labels" doc:"The values of the dimensions of group_by; {\"__other__\": \"true\"} is what was folded."`
	Points []pointDoc        `json:"points" doc:"[unix_ms of the step's start, value or null], a point for each step."`
	Total  *float64          `json:"total" doc:"The aggregate of the whole range."`
}

type resultDoc struct {
	Metric string      `json:"metric"`
	Agg    string      `json:"agg"`
	Unit   string      `json:"unit"`
	From   time.Time   `json:"from"`
	To     time.Time   `json:"to"`
	Step   string      `json:"step"`
	Series []seriesDoc `json:"series" doc:"Largest total first."`
}

// AppendJSON is the result's.
func (v resultView) AppendJSON(b []byte) []byte { return v.Result.AppendJSON(b) }

// Schema is resultDoc's.
func (resultView) Schema(r huma.Registry) *huma.Schema {
	return describedBy[resultDoc](r, "QueryResult", false)
}

type overviewView struct{ query.Overview }

type sourceOverviewDoc struct {
	Source          string     `json:"source"`
	Name            string     `json:"name"`
	Vendor          string     `json:"vendor"`
	Status          string     `json:"status" enum:"ok,degraded,down,idle"`
	Reason          string     `json:"reason"`
	EventsPerMinute float64    `json:"events_per_minute"`
	ErrorShare      *float64   `json:"error_share" doc:"0 to 1; null when there is nothing to judge by."`
	LastEventAt     *time.Time `json:"last_event_at"`
	Sparkline       []pointDoc `json:"sparkline" doc:"Events of each minute."`
	Incidents       int        `json:"incidents"`
}

type overviewDoc struct {
	Data   []sourceOverviewDoc  `json:"data"`
	Totals query.OverviewTotals `json:"totals"`
}

// Schema is overviewDoc's.
func (overviewView) Schema(r huma.Registry) *huma.Schema {
	return describedBy[overviewDoc](r, "Overview", false)
}
