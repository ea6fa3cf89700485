package ingest

import (
	"errors"
	"fmt"
	"log/slog"
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
	Rate      float64 // events a second that the tenant may send; 0 is no limit
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
	rate      limit.Rate
	room      *limit.Room
	turns     *limit.Turns
	ready     func() error
	refused   func(t tenant.ID, reason string)
	now       func() time.Time
	log       *slog.Logger
}

// DoorConfig is what a Door needs.
type DoorConfig struct {
	Committer *Committer
	// Room is what requests and what waits to be processed share.
	Room *limit.Room
	// Readers is how many large bodies are parsed at a time: as many as there are processors.
	Readers int
	// Ready says why nothing can be taken now, or nil: back-pressure.
	Ready func() error
	// Refused is told of each request that was sent away, and why, in a word.
	Refused func(t tenant.ID, reason string)
	Now     func() time.Time
	Log     *slog.Logger
}

// NewDoor makes a Door.
func NewDoor(cfg DoorConfig) *Door {
	return &Door{committer: cfg.Committer, room: cfg.Room, turns: limit.NewTurns(cfg.Readers), ready: cfg.Ready, refused: cfg.Refused, now: cfg.Now, log: cfg.Log}
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
	v, err := d.Admit(w.Header(), sender, r.ContentLength)
	if err != nil {
		return nil, err
	}
	defer v.End()
	batch, err := d.read(w, r, v)
	if err != nil {
		return nil, err
	}
	if len(batch.Events) == 0 && len(batch.Rejected) > 0 {
		return nil, nothingTaken(batch.Rejected)
	}
	if err := v.Take(r.Context(), batch.Events); err != nil {
		return nil, err
	}
	return &Receipt{Accepted: len(batch.Events), Rejected: batch.Rejected}, nil
}

// read decodes a request's body into a batch.
func (d *Door) read(w http.ResponseWriter, r *http.Request, v *Visit) (*Batch, error) {
	batch := NewBatch(v.sender.Name, d.now().UTC(), v.sender.Retention)
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
	body, err := v.ReadBody(w, r, event.MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	if binary {
		parse = func(body []byte, sink event.Sink) error { return cloudevents.Parse(r.Header, body, sink) }
	}
	err = v.work(r.Context(), len(body), func() error { return parse(body, batch) })
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
