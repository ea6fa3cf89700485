package report

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Kind says what a report is about.
type Kind string

// The kinds.
const (
	Events Kind = "events"
	Metric Kind = "metric"
)

// Format is that of a report's file.
type Format string

// The formats.
const (
	Parquet Format = "parquet"
	CSV     Format = "csv"
)

// ContentType is the media type of a file.
func (f Format) ContentType() string {
	if f == Parquet {
		return "application/vnd.apache.parquet"
	}
	return "text/csv; charset=utf-8; header=present"
}

// State is how far a report is.
type State string

// The states; doc.go has the drawing.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Order is what somebody asks for.
type Order struct {
	Kind   Kind      `json:"kind"`
	Format Format    `json:"format"`
	From   time.Time `json:"from,omitzero"` // inclusive; zero: no bound
	To     time.Time `json:"to,omitzero"`   // exclusive
	// Of events:
	Types   []string `json:"types,omitempty"`
	Source  string   `json:"source,omitempty"`
	Subject string   `json:"subject,omitempty"`
	// Of a metric: its slug, and the parameters that package query reads.
	Metric     string     `json:"metric,omitempty"`
	Parameters url.Values `json:"parameters,omitempty"`
}

func (o *Order) filter() store.EventFilter {
	return store.EventFilter{Types: o.Types, Source: o.Source, Subject: o.Subject, From: o.From, To: o.To}
}

// Report is an order with its state.
type Report struct {
	ID     string    `json:"id"`
	Tenant tenant.ID `json:"tenant"`
	Order
	State State `json:"state"`
	// Progress is from 0 to 1. It, Rows and Bytes move while the report is written.
	Progress float64 `json:"-"`
	Rows     int64   `json:"rows"`
	Bytes    int64   `json:"bytes"`
	// Reason says why it failed and what to do.
	Reason string `json:"reason,omitempty"`
	// Incomplete says that the store was being rebuilt meanwhile, so that events may be missing.
	Incomplete bool      `json:"incomplete,omitempty"`
	Attempts   int       `json:"attempts"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}

func (r *Report) finished() bool { return r.State == Done || r.State == Failed }

// ExpiresAt is when it is removed, zero while it is not finished.
func (r *Report) ExpiresAt() time.Time {
	if !r.finished() {
		return time.Time{}
	}
	return r.FinishedAt.Add(lifetime)
}

// Filename is what a person's download is called.
func (r *Report) Filename() string {
	name := string(r.Kind)
	if r.Kind == Metric {
		name = r.Metric
	}
	return fmt.Sprintf("%s-%s-%s.%s", name, r.CreatedAt.UTC().Format("20060102-150405"), r.ID[:8], r.Format)
}

// Bounds that no operator needs to set.
const (
	lifetime    = 24 * time.Hour // of a finished report
	urlLifetime = time.Hour
	// maxKept and maxWaiting bound the reports of a tenant: what is finished, of which the oldest go, and what is not, of which no more are taken.
	maxKept    = 20
	maxWaiting = 5
	// maxRuns is how many ends of the server, or of the store under it, a report survives.
	maxRuns = 3
	maxTime = time.Hour // that a report may take to write
)

// Sentinels; test with errors.Is.
var (
	// ErrNotFound: the tenant has no such report.
	ErrNotFound = errors.New("no such report")
	// ErrForbidden: the address was not made here, or was changed.
	ErrForbidden = errors.New("not an address of a report")
	// ErrExpired: the address was good once.
	ErrExpired = errors.New("the address of the report has expired")
	// ErrTooMany: the tenant has to wait for its others.
	ErrTooMany = fmt.Errorf("%d reports are waiting already: wait until one is done", maxWaiting)
	// ErrNoRoom: the disk is too full for reports.
	ErrNoRoom = errors.New("the disk has no room for a report")
)
