// Package ingest is the door for events: authenticate, limit, decode, validate, append to the log. It answers only after the
// log has what it says was taken.
//
// Each wire format is a package below with one pure function from a body to a Sink.
package ingest

import (
	"errors"
	"runtime"
	"time"

	"github.com/google/uuid"

	"github.com/pulsestream/pulsestream/internal/event"
)

// Rejected is one event of a request that was not taken.
type Rejected struct {
	Index  int    `json:"index" doc:"Which event of the request, from 0; of NDJSON, which line that is not blank."`
	Code   string `json:"code" doc:"What is wrong, for programs." example:"invalid_time"`
	Detail string `json:"detail" doc:"What is wrong, for people."`
}

// ErrTooMany is returned by Batch when a request has more events than event.MaxPerRequest.
var ErrTooMany = errors.New("too many events in one request")

// Batch collects the events of one request. It is the event.Sink of every wire format: an event that breaks a rule is rejected
// by itself and the others go on.
type Batch struct {
	Events   []event.Event
	Rejected []Rejected

	source    string
	now       time.Time
	retention time.Duration
	total     int
}

// NewBatch makes an empty batch. Source is that of events which name none; now and retention bound their times.
func NewBatch(source string, now time.Time, retention time.Duration) *Batch {
	b := &Batch{}
	b.reset(source, now, retention)
	return b
}

// reset empties the batch for another request, and keeps its memory.
func (b *Batch) reset(source string, now time.Time, retention time.Duration) {
	clear(b.Events)
	*b = Batch{Events: b.Events[:0], Rejected: []Rejected{}, source: source, now: now, retention: retention}
}

// Event takes one decoded event, filling in what the sender left to the server, or rejects it. What the event is a view of has to stay as it is
// while the batch is used.
func (b *Batch) Event(ev event.Event) error {
	if ev.Time.IsZero() {
		ev.Time = b.now
	}
	if p := event.CheckTime(ev.Time, b.now, b.retention); p != nil {
		return b.Reject(p)
	}
	if ev.Source == "" {
		ev.Source = b.source
	}
	if ev.ID == "" {
		ev.ID = uuid.Must(uuid.NewV7()).String()
	}
	b.Events = append(b.Events, ev)
	return b.count()
}

// Reject notes an event that cannot be taken.
func (b *Batch) Reject(p *event.Problem) error {
	b.Rejected = append(b.Rejected, Rejected{Index: b.total, Code: p.Code, Detail: p.Detail})
	return b.count()
}

// stretch is how many events are parsed before others get the processor: some 100 µs. Without it whatever else is to be done waits
// until the scheduler interrupts, 10 ms.
const stretch = 64

func (b *Batch) count() error {
	if b.total%stretch == stretch-1 {
		runtime.Gosched()
	}
	if b.total++; b.total > event.MaxPerRequest {
		return ErrTooMany
	}
	return nil
}
