package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

type quarantinedView struct {
	ID        string          `json:"id"`
	Stage     string          `json:"stage" enum:"decode,aggregate,commit" doc:"What could not process it."`
	Reason    string          `json:"reason"`
	Partition int             `json:"partition"`
	Sequence  uint64          `json:"sequence" doc:"Of the log message, and index the place within it."`
	Index     uint32          `json:"index"`
	At        time.Time       `json:"at"`
	Attempts  int             `json:"attempts"`
	Event     json.RawMessage `json:"event" doc:"The event as it was received."`
}

func viewQuarantined(q *store.Quarantined) quarantinedView {
	v := quarantinedView{ID: q.ID, Stage: q.Stage, Reason: q.Reason, Partition: q.Partition, Sequence: q.Position.Seq, Index: q.Position.Index, At: q.At, Attempts: q.Attempts, Event: json.RawMessage("null")}
	if q.Event != nil {
		v.Event = event.AppendJSON(nil, q.Event)
	}
	return v
}

type retryBody struct {
	IDs    []string `json:"ids,omitempty" maxItems:"1000" doc:"Which entries; all when missing."`
	DryRun bool     `json:"dry_run,omitempty" doc:"Only say what would happen."`
}

type retryView struct {
	DryRun  bool          `json:"dry_run"`
	Retried int           `json:"retried" doc:"Events that were put into the log again. Those that can be processed leave the quarantine within a second."`
	Results []retryResult `json:"results"`
}

type retryResult struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok" doc:"Whether the event's metrics can be computed now."`
	Detail string `json:"detail,omitempty"`
}

// maxRetry bounds the entries that one request retries; a further one retries the next.
const maxRetry = 10_000

func (a *api) quarantineRoutes() {
	const tag = "Quarantine"
	register(a, operation{method: http.MethodGet, path: "/v1/quarantine", id: "list-quarantine", tag: tag, permission: auth.EventsRead,
		summary: "Events that could not be processed", description: "They are kept until they are retried with success or deleted."}, a.listQuarantine)
	register(a, operation{method: http.MethodPost, path: "/v1/quarantine/retry", id: "retry-quarantine", tag: tag, permission: auth.QuarantineRetry,
		summary: "Process quarantined events again", errors: []int{http.StatusNotFound, http.StatusServiceUnavailable}}, a.retryQuarantine)
	register(a, operation{method: http.MethodPost, path: "/v1/quarantine/{id}/retry", id: "retry-quarantined", tag: tag, permission: auth.QuarantineRetry,
		summary: "Process one quarantined event again", errors: []int{http.StatusNotFound, http.StatusServiceUnavailable}},
		func(ctx context.Context, p auth.Principal, in *struct {
			ID     string `path:"id" maxLength:"128"`
			DryRun bool   `query:"dry_run"`
		}) (*body[retryView], error) {
			return a.retry(ctx, p.Tenant, retryBody{IDs: []string{in.ID}, DryRun: in.DryRun})
		})
}

func (a *api) listQuarantine(ctx context.Context, p auth.Principal, in *struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"128" doc:"next_cursor of the page before."`
}) (*body[list[quarantinedView]], error) {
	entries, err := a.Events.Quarantined(ctx, p.Tenant, store.QuarantineQuery{After: in.Cursor, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	out := list[quarantinedView]{Data: make([]quarantinedView, 0, len(entries))}
	if len(entries) > in.Limit {
		entries = entries[:in.Limit]
		out.Next = entries[in.Limit-1].ID
	}
	for i := range entries {
		out.Data = append(out.Data, viewQuarantined(&entries[i]))
	}
	return &body[list[quarantinedView]]{out}, nil
}

func (a *api) retryQuarantine(ctx context.Context, p auth.Principal, in *struct {
	Body *retryBody `required:"false"`
}) (*body[retryView], error) {
	if in.Body == nil {
		in.Body = &retryBody{}
	}
	return a.retry(ctx, p.Tenant, *in.Body)
}

// retry puts events into the log again. The worker stores and releases them in one transaction, so an event is in quarantine
// or stored at each moment, and one that is retried twice is stored once: its id is its identity.
func (a *api) retry(ctx context.Context, t tenant.ID, in retryBody) (*body[retryView], error) {
	entries, err := a.Events.Quarantined(ctx, t, store.QuarantineQuery{IDs: in.IDs, Limit: maxRetry})
	if err != nil {
		return nil, err
	}
	if len(entries) < len(in.IDs) {
		return nil, web.NewProblem(http.StatusNotFound, "Not all of these are in quarantine.")
	}
	defs, err := a.Registry.Tenant(ctx, t)
	if err != nil {
		return nil, err
	}
	out := retryView{DryRun: in.DryRun, Results: make([]retryResult, 0, len(entries))}
	var again []event.Event
	for i := range entries {
		r := retryResult{ID: entries[i].ID, OK: true}
		ev := entries[i].Event
		if ev == nil {
			r.OK, r.Detail = false, "the message could not be decoded; nothing of it can be retried"
		} else {
			if err := observable(ev, defs.Metrics); err != nil {
				r.OK, r.Detail = false, err.Error()
			}
			ev.Identified = true
			again = append(again, *ev)
		}
		out.Results = append(out.Results, r)
	}
	if in.DryRun || len(again) == 0 {
		return &body[retryView]{out}, nil
	}
	for len(again) > 0 {
		n := retryPart(again)
		if err := a.Door.Take(ctx, t, again[:n]); err != nil {
			return nil, err
		}
		out.Retried += n
		again = again[n:]
	}
	return &body[retryView]{out}, nil
}

// retryPart is how many of the events are put into the log at once: as many as a request of moderate size has.
func retryPart(events []event.Event) (n int) {
	const most = 1 << 20
	for size := 0; n < min(len(events), event.MaxPerRequest) && (n == 0 || size <= most); n++ {
		size += len(events[n].Data) + len(events[n].Extensions) + 256
	}
	return n
}

var errPanicked = errors.New("a metric panicked")

// observable says whether a tenant's metrics can be computed from an event.
func observable(ev *event.Event, metrics *metric.Set) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	var doc metric.Doc
	doc.Reset(ev)
	for _, p := range metrics.For(ev.Type) {
		p.Observe(&doc)
	}
	return nil
}
