package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
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
	// Key is what was shown, if it has a limit of its own: KeyRate events a second.
	Key     string
	KeyRate float64
	Quotas  tenant.Quotas
}

// Quotas knows how much tenants have used of what they may in a month.
type Quotas interface {
	// Month is how many events and bytes a tenant has used this month, and how long that still is.
	Month(t tenant.ID) (events, bytes int64, resets time.Duration)
	// Taken notes what was taken.
	Taken(t tenant.ID, events, bytes int64)
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
	quotas    Quotas
	room      *limit.Room
	turns     *limit.Turns
	ready     func() error
	refused   func(t tenant.ID, reason string)
	now       func() time.Time
	log       *slog.Logger
	free      sync.Pool // *work
}

// DoorConfig is what a Door needs.
type DoorConfig struct {
	Committer *Committer
	// Meter counts what tenants have sent of what they may.
	Meter limit.Meter
	// Quotas counts months; nil where no tenant has any.
	Quotas Quotas
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
	return &Door{committer: cfg.Committer, rate: limit.NewRate(cfg.Meter), quotas: cfg.Quotas, room: cfg.Room, turns: limit.NewTurns(cfg.Readers), ready: cfg.Ready, refused: cfg.Refused, now: cfg.Now, log: cfg.Log}
}

// Events is the handler of POST /v1/events.
func (d *Door) Events(authenticate Authenticate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		work := d.work()
		if err := d.events(w, r, work, authenticate); err != nil {
			problem := web.ProblemOf(err)
			if problem == nil {
				d.log.Error("a request for events failed", "error.message", err.Error())
				problem = web.NewProblem(http.StatusInternalServerError, "")
			}
			problem.Write(w)
		} else {
			answer(w, &work.batch)
		}
		d.giveBack(work) // not after a panic: then it is not known who still has some of it
	})
}

// answer says what was taken.
func answer(w http.ResponseWriter, b *Batch) {
	if len(b.Rejected) > 0 {
		web.JSON(w, http.StatusAccepted, &Receipt{Accepted: len(b.Events), Rejected: b.Rejected})
		return
	}
	body := strconv.AppendInt(append(make([]byte, 0, 64), `{"accepted":`...), int64(len(b.Events)), 10)
	web.JSONText(w, http.StatusAccepted, append(body, `,"rejected":[]}`...))
}

func (d *Door) events(w http.ResponseWriter, r *http.Request, work *work, authenticate Authenticate) error {
	sender, err := authenticate(r)
	if err != nil {
		return err
	}
	v, err := d.Admit(w.Header(), sender, r.ContentLength)
	if err != nil {
		return err
	}
	defer v.End()
	if err := d.read(w, r, v, work); err != nil {
		return err
	}
	if b := &work.batch; len(b.Events) == 0 && len(b.Rejected) > 0 {
		return nothingTaken(b.Rejected)
	}
	return v.Take(r.Context(), work.batch.Events)
}

// format is a form in which events can come.
type format int

const (
	noFormat format = iota
	freeJSON
	oneCloudEvent
	manyCloudEvents
	lines
	binaryCloudEvent
)

// formatOf is the format of a media type.
func formatOf(media string) format {
	switch media {
	case "application/json":
		return freeJSON
	case "application/cloudevents+json":
		return oneCloudEvent
	case "application/cloudevents-batch+json":
		return manyCloudEvents
	case "application/x-ndjson", "application/jsonl", "application/ndjson":
		return lines
	}
	return noFormat
}

// formatOfRequest finds out what a request brings, before its body is read.
func formatOfRequest(r *http.Request) (format, error) {
	if cloudevents.IsBinary(r.Header) {
		return binaryCloudEvent, nil
	}
	media, err := web.MediaType(r, Accepted)
	if err != nil {
		return noFormat, err
	}
	f := formatOf(media)
	if f == noFormat {
		return noFormat, web.UnsupportedMedia(Accepted)
	}
	return f, nil
}

// parse reads a body of a format into the batch.
func (w *work) parse(f format, h http.Header) error {
	switch f {
	case oneCloudEvent:
		return w.json.Read(w.body, jsonevents.One, true, &w.batch)
	case manyCloudEvents:
		return w.json.Read(w.body, jsonevents.Array, true, &w.batch)
	case lines:
		return jsonlines.Read(&w.parser, w.body, &w.batch)
	case binaryCloudEvent:
		return cloudevents.Parse(h, w.body, &w.batch)
	case freeJSON, noFormat:
	}
	return w.json.Read(w.body, jsonevents.OneOrArray, false, &w.batch)
}

// read decodes a request's body into a batch.
func (d *Door) read(w http.ResponseWriter, r *http.Request, v *Visit, work *work) (err error) {
	work.batch.reset(v.sender.Name, d.now().UTC(), v.sender.Retention)
	f, err := formatOfRequest(r)
	if err != nil {
		return err
	}
	if work.body, err = v.readBody(w, r, work.body, event.MaxBodyBytes); err != nil {
		return err
	}
	if len(work.body) <= SmallBody {
		err = work.parse(f, r.Header)
	} else {
		err = v.inTurn(r.Context(), func() error { return work.parse(f, r.Header) })
	}
	var syntax *event.SyntaxError
	switch {
	case err == nil:
	case errors.As(err, &syntax):
		return web.NewProblem(http.StatusBadRequest, "The body could not be read; nothing of it was taken.",
			web.FieldError{Location: "body", Message: syntax.Error()})
	case errors.Is(err, ErrTooMany):
		return web.NewProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("A request has at most %d events: send them in parts.", event.MaxPerRequest))
	default:
		return err
	}
	if len(work.batch.Events)+len(work.batch.Rejected) == 0 && f == lines {
		return web.NewProblem(http.StatusBadRequest, "The body is empty: send one JSON event a line.")
	}
	return nil
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
