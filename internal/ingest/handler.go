package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest/cloudevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonlines"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// Accepted is the media types of the events endpoint.
const Accepted = "application/json, application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson, or ce-… headers"

// Sender is who sends a request: whose events they are, and the source of those that name none.
type Sender struct {
	Tenant    tenant.ID
	Name      string
	Retention time.Duration
}

// Authenticate finds the sender of a request; its error is a web.Problem.
type Authenticate func(r *http.Request) (Sender, error)

// Receipt is the answer to a request of which something was taken.
type Receipt struct {
	Accepted int        `json:"accepted" doc:"How many events are on disk now. One that was sent before counts too; it is stored once."`
	Rejected []Rejected `json:"rejected"`
}

// Door takes events, from HTTP bodies and from verified webhooks alike.
type Door struct {
	committer *Committer
	rate      *limit.Rate
	ready     func() error
	now       func() time.Time
	log       *slog.Logger
}

// DoorConfig is what a Door needs.
type DoorConfig struct {
	Committer *Committer
	Rate      *limit.Rate
	// Ready says why nothing can be taken now, or nil: back-pressure.
	Ready func() error
	Now   func() time.Time
	Log   *slog.Logger
}

// NewDoor makes a Door.
func NewDoor(cfg DoorConfig) *Door {
	return &Door{committer: cfg.Committer, rate: cfg.Rate, ready: cfg.Ready, now: cfg.Now, log: cfg.Log}
}

// Events is the handler of POST /v1/events.
func (d *Door) Events(authenticate Authenticate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		receipt, err := d.events(w, r, authenticate)
		if err != nil {
			problem := web.ProblemOf(err)
			if problem == nil {
				d.log.Error("a request for events failed", "error.message", err.Error())
				problem = web.NewProblem(http.StatusInternalServerError, "")
			}
			problem.Write(w)
			return
		}
		web.JSON(w, http.StatusAccepted, receipt)
	})
}

func (d *Door) events(w http.ResponseWriter, r *http.Request, authenticate Authenticate) (*Receipt, error) {
	sender, err := authenticate(r)
	if err != nil {
		return nil, err
	}
	if err := d.Admit(w.Header(), sender.Tenant, 0); err != nil {
		return nil, err
	}
	batch, err := d.read(w, r, sender)
	if err != nil {
		return nil, err
	}
	if len(batch.Events) == 0 && len(batch.Rejected) > 0 {
		return nil, nothingTaken(batch.Rejected)
	}
	if err := d.Admit(w.Header(), sender.Tenant, len(batch.Events)); err != nil {
		return nil, err
	}
	if err := d.Take(r.Context(), sender.Tenant, batch.Events); err != nil {
		return nil, err
	}
	return &Receipt{Accepted: len(batch.Events), Rejected: batch.Rejected}, nil
}

// read decodes a request's body into a batch.
func (d *Door) read(w http.ResponseWriter, r *http.Request, sender Sender) (*Batch, error) {
	batch := NewBatch(sender.Name, d.now().UTC(), sender.Retention)
	binary := cloudevents.IsBinary(r.Header)
	var media string
	if !binary {
		var err error
		if media, err = web.MediaType(r, Accepted); err != nil {
			return nil, err
		}
	}
	parse, ok := formats()[media]
	if !ok && !binary {
		return nil, web.UnsupportedMedia(Accepted)
	}
	body, err := web.ReadBody(w, r, event.MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	if binary {
		err = cloudevents.Parse(r.Header, body, batch)
	} else {
		err = parse(body, batch)
	}
	var syntax *event.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, web.NewProblem(http.StatusBadRequest, "The body could not be read; nothing of it was taken.",
			web.FieldError{Location: "body", Message: syntax.Error()})
	case errors.Is(err, ErrTooMany):
		return nil, web.NewProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("A request has at most %d events: send them in parts.", event.MaxPerRequest))
	case err != nil:
		return nil, err
	}
	if len(batch.Events)+len(batch.Rejected) == 0 && media == "application/x-ndjson" {
		return nil, web.NewProblem(http.StatusBadRequest, "The body is empty: send one JSON event a line.")
	}
	return batch, nil
}

type parseFunc func(body []byte, sink event.Sink) error

func formats() map[string]parseFunc {
	json := func(form jsonevents.Form, strict bool) parseFunc {
		return func(body []byte, sink event.Sink) error { return jsonevents.Parse(body, form, strict, sink) }
	}
	return map[string]parseFunc{
		"application/json":                   json(jsonevents.OneOrArray, false),
		"application/cloudevents+json":       json(jsonevents.One, true),
		"application/cloudevents-batch+json": json(jsonevents.Array, true),
		"application/x-ndjson":               jsonlines.Parse,
		"application/jsonl":                  jsonlines.Parse,
		"application/ndjson":                 jsonlines.Parse,
	}
}

// nothingTaken is the answer when every event of a request was rejected.
func nothingTaken(rejected []Rejected) *web.Problem {
	const most = 100
	p := web.NewProblem(http.StatusUnprocessableEntity, "None of the events could be taken.")
	p.Extra = map[string]any{"accepted": 0, "rejected": rejected}
	for _, r := range rejected[:min(most, len(rejected))] {
		p.Errors = append(p.Errors, web.FieldError{Location: "body[" + strconv.Itoa(r.Index) + "]", Message: r.Code + ": " + r.Detail})
	}
	return p
}

// Admit says whether n more events of a tenant may come in, as a Problem when not, and sets the RateLimit headers
// of the answer.
func (d *Door) Admit(h http.Header, t tenant.ID, n int) error {
	decision := d.rate.Take(t, n, d.now())
	if decision.Limit > 0 {
		h.Set("RateLimit-Policy", fmt.Sprintf(`"events";q=%d;w=1`, int(math.Max(1, decision.Limit))))
		h.Set("RateLimit", fmt.Sprintf(`"events";r=%d;t=%d`, decision.Remaining, int(math.Ceil(decision.Reset.Seconds()))))
	}
	if !decision.Allowed {
		p := web.NewProblem(http.StatusTooManyRequests, fmt.Sprintf("This tenant may send %g events a second on average.", decision.Limit))
		p.RetryAfter = max(decision.Retry, time.Second)
		return p
	}
	if err := d.ready(); err != nil {
		return unavailable(err)
	}
	return nil
}

func unavailable(err error) *web.Problem {
	p := web.NewProblem(http.StatusServiceUnavailable, "Events can't be taken now: "+err.Error()+". Send them again.")
	p.RetryAfter = 2 * time.Second
	return p
}

// Take writes events to the log and returns once they are on disk. Its error is a Problem.
func (d *Door) Take(ctx context.Context, t tenant.ID, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := d.committer.Commit(ctx, t, events)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrOverloaded), errors.Is(err, ErrStopped):
		return unavailable(err)
	case ctx.Err() != nil: // the client went away; nobody reads this
		return unavailable(ctx.Err())
	}
	d.log.Error("events could not be written to the log: look for a full or failing disk", "tenant.id", string(t), "error.message", err.Error())
	return unavailable(errors.New("the log could not write them"))
}

// TakeVerified is Take for the events of a verified webhook: they belong to a source, and a time outside the
// tenant's retention is refused like any other. Its error is a Problem.
func (d *Door) TakeVerified(ctx context.Context, t tenant.ID, source string, events []event.Event, retention time.Duration) error {
	now := d.now().UTC()
	for i := range events {
		events[i].Source = source
		if p := event.CheckTime(events[i].Time, now, retention); p != nil {
			problem := web.NewProblem(http.StatusUnprocessableEntity, p.Detail)
			problem.Code = p.Code
			return problem
		}
	}
	return d.Take(ctx, t, events)
}
