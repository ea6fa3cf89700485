package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// IncidentView is an incident as the API and the live connection show it.
type IncidentView struct {
	ID             string            `json:"id"`
	Rule           string            `json:"rule"`
	RuleName       string            `json:"rule_name"`
	Metric         string            `json:"metric"`
	Labels         map[string]string `json:"labels"`
	State          string            `json:"state" enum:"firing,resolved"`
	Severity       string            `json:"severity"`
	StartedAt      time.Time         `json:"started_at"`
	ResolvedAt     *time.Time        `json:"resolved_at"`
	Value          float64           `json:"value" doc:"When it began."`
	Threshold      float64           `json:"threshold"`
	Explanation    string            `json:"explanation"`
	Summary        string            `json:"summary"`
	AcknowledgedBy string            `json:"acknowledged_by"`
	AcknowledgedAt *time.Time        `json:"acknowledged_at"`
	Timeline       []Moment          `json:"timeline" doc:"Oldest first. A list of incidents has no notifications in it; one incident has."`
}

// Moment is an entry of an incident's timeline.
type Moment struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind" enum:"pending,firing,resolved,ack,comment,notified,notify_failed,notify_queued"`
	Text string    `json:"text"`
	By   string    `json:"by"`
}

// viewIncident puts an incident together with what people and the notifier did about it.
func viewIncident(in *alert.Incident, notes []catalog.Note, jobs []store.Job) IncidentView {
	v := IncidentView{
		ID: in.ID, Rule: in.Rule, RuleName: in.RuleName, Metric: in.Metric, Labels: in.Labels, State: in.State, Severity: in.Severity,
		StartedAt: in.StartedAt, Value: in.Value, Threshold: in.Threshold, Explanation: in.Explanation, Summary: in.Summary,
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if !in.PendingAt.IsZero() && in.PendingAt.Before(in.StartedAt) {
		v.Timeline = append(v.Timeline, Moment{At: in.PendingAt, Kind: "pending", Text: "The condition began to hold."})
	}
	v.Timeline = append(v.Timeline, Moment{At: in.StartedAt, Kind: "firing", Text: in.Explanation})
	if !in.ResolvedAt.IsZero() {
		v.ResolvedAt = &in.ResolvedAt
		v.Timeline = append(v.Timeline, Moment{At: in.ResolvedAt, Kind: "resolved", Text: "The condition no longer holds."})
	}
	for i := range notes {
		n := &notes[i]
		if n.Kind == "ack" && v.AcknowledgedAt == nil {
			v.AcknowledgedBy, v.AcknowledgedAt = n.By, &n.At
		}
		v.Timeline = append(v.Timeline, Moment{At: n.At, Kind: n.Kind, Text: n.Text, By: n.By})
	}
	for i := range jobs {
		v.Timeline = append(v.Timeline, delivery(&jobs[i]))
	}
	slices.SortStableFunc(v.Timeline, func(x, y Moment) int { return x.At.Compare(y.At) })
	return v
}

func delivery(j *store.Job) Moment {
	m := Moment{At: j.UpdatedAt, By: j.Channel, Kind: "notify_queued", Text: "A message to " + j.Channel + " is on its way."}
	switch j.State {
	case store.JobDone:
		m.Kind, m.Text = "notified", "A message was delivered to "+j.Channel+"."
	case store.JobDead:
		m.Kind, m.Text = "notify_failed", "No message reached "+j.Channel+": "+j.Error
	case store.JobQueued:
		if j.Error != "" {
			m.Text = "A message to " + j.Channel + " will be tried again: " + j.Error
		}
	}
	return m
}

// IncidentPath is the path of an incident.
type IncidentPath struct {
	ID string `path:"id" maxLength:"128"`
}

type noteInput struct {
	IncidentPath
	Body noteBody
}

type noteBody struct {
	Text    string `json:"text,omitempty" maxLength:"4000"`
	Comment string `json:"comment,omitempty" maxLength:"4000"`
}

func (a *api) incidentRoutes() {
	const tag = "Incidents"
	register(a, operation{method: http.MethodGet, path: "/v1/incidents", id: "list-incidents", tag: tag, permission: auth.IncidentsRead,
		summary: "Incidents, newest first"}, a.listIncidents)
	register(a, operation{method: http.MethodGet, path: "/v1/incidents/{id}", id: "get-incident", tag: tag, permission: auth.IncidentsRead,
		summary: "One incident", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *IncidentPath) (*body[IncidentView], error) {
			return a.incident(ctx, p.Tenant, in.ID)
		})
	register(a, operation{method: http.MethodPost, path: "/v1/incidents/{id}/ack", id: "acknowledge-incident", tag: tag, permission: auth.IncidentsWrite,
		summary: "Tell everybody that you are on it", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *struct {
			IncidentPath
			Body *noteBody `required:"false"`
		}) (*body[IncidentView], error) {
			n := catalog.Note{Kind: "ack"}
			if in.Body != nil {
				n.Text = in.Body.Comment + in.Body.Text
			}
			return a.note(ctx, p, in.ID, n)
		})
	for path, id := range map[string]string{"comments": "comment-incident", "comment": "comment-incident-alias"} {
		register(a, operation{method: http.MethodPost, path: "/v1/incidents/{id}/" + path, id: id, tag: tag, permission: auth.IncidentsWrite,
			summary: "Say something about an incident", errors: []int{http.StatusNotFound}},
			func(ctx context.Context, p auth.Principal, in *noteInput) (*body[IncidentView], error) {
				text := in.Body.Text + in.Body.Comment
				if text == "" {
					return nil, unprocessable("The comment is empty.", web.FieldError{Location: "body.text", Message: "say something"})
				}
				return a.note(ctx, p, in.ID, catalog.Note{Kind: "comment", Text: text})
			})
	}
}

func (a *api) listIncidents(ctx context.Context, p auth.Principal, in *struct {
	State  string `query:"state" enum:"firing,resolved"`
	Rule   string `query:"rule"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
}) (*body[list[IncidentView]], error) {
	q := store.IncidentQuery{State: in.State, Rule: in.Rule, Limit: in.Limit + 1}
	if in.Cursor != "" {
		c, ok := decodeIncidentCursor(in.Cursor)
		if !ok {
			return nil, unprocessable("The query is not right.", web.FieldError{Location: "query.cursor", Message: "it is not a cursor of this list"})
		}
		q.After = &c
	}
	views, err := a.Incidents.Many(ctx, p.Tenant, q)
	if err != nil {
		return nil, err
	}
	out := list[IncidentView]{Data: views}
	if len(views) > in.Limit {
		out.Data = views[:in.Limit]
		out.Next = encodeIncidentCursor(store.IncidentCursor{StartedAt: views[in.Limit-1].StartedAt, ID: views[in.Limit-1].ID})
	}
	return &body[list[IncidentView]]{out}, nil
}

func (a *api) incident(ctx context.Context, t tenant.ID, id string) (*body[IncidentView], error) {
	v, err := a.Incidents.One(ctx, t, id)
	return &body[IncidentView]{v}, err
}

// Incidents puts incidents together from what the stores know of them.
type Incidents struct {
	Events  store.Events
	Catalog *catalog.Catalog
	Queue   store.Queue
}

// One returns an incident with its whole timeline, or store.ErrNotFound.
func (r *Incidents) One(ctx context.Context, t tenant.ID, id string) (IncidentView, error) {
	found, err := r.Events.Incidents(ctx, t, store.IncidentQuery{ID: id, Limit: 1})
	if err != nil {
		return IncidentView{}, err
	}
	if len(found) == 0 {
		return IncidentView{}, store.ErrNotFound
	}
	notes, err := r.Catalog.Notes(ctx, t, id)
	if err != nil {
		return IncidentView{}, err
	}
	jobs, err := r.Queue.Jobs(ctx, t, id, 200)
	if err != nil {
		return IncidentView{}, err
	}
	return viewIncident(&found[0], notes, jobs), nil
}

// Many returns incidents, newest first.
func (r *Incidents) Many(ctx context.Context, t tenant.ID, q store.IncidentQuery) ([]IncidentView, error) {
	incidents, err := r.Events.Incidents(ctx, t, q)
	if err != nil {
		return nil, err
	}
	notes, err := r.Catalog.AllNotes(ctx, t)
	if err != nil {
		return nil, err
	}
	out := make([]IncidentView, 0, len(incidents))
	for i := range incidents {
		out = append(out, viewIncident(&incidents[i], notes[incidents[i].ID], nil))
	}
	return out, nil
}

// note adds to an incident what somebody did or said, and tells those who look at it.
func (a *api) note(ctx context.Context, p auth.Principal, id string, n catalog.Note) (*body[IncidentView], error) {
	if _, err := a.incident(ctx, p.Tenant, id); err != nil {
		return nil, err
	}
	n.By, n.At = p.Name, a.Now().UTC()
	if err := a.Catalog.AddNote(ctx, p.Tenant, id, n); err != nil {
		return nil, err
	}
	out, err := a.incident(ctx, p.Tenant, id)
	if err == nil && a.IncidentChanged != nil {
		a.IncidentChanged(p.Tenant, id)
	}
	return out, err
}
