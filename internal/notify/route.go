package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Transitions is where changes of incidents come from: the Events store.
type Transitions interface {
	Transitions(ctx context.Context, after uint64, limit int) ([]store.NumberedTransition, error)
}

// Queue is the durable queue: store.Queue, whose words say what its methods do.
type Queue interface {
	Enqueue(ctx context.Context, tail string, position uint64, jobs []store.Job) error
	Position(ctx context.Context, tail string) (uint64, error)
	Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]store.Job, error)
	Finish(ctx context.Context, j store.Job) error
	Jobs(ctx context.Context, t tenant.ID, incident string, limit int) ([]store.Job, error)
}

// tail is the name of the notifier's cursor.
const tail = "notify"

// JobID is the idempotency key of a transition's notification by a channel. It is unique across tenants, and of letters, digits
// and _ only, so that it can stand in a header and in a signed text.
func JobID(t tenant.ID, transition, channel string) string {
	sum := sha256.Sum256([]byte(string(t) + "\x00" + transition + "\x00" + channel))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// payload is a transition as a job carries it. JSON has no NaN and no infinity, and one value must not stop the whole tail.
type payload struct {
	alert.Transition
	Value     *float64 `json:"value"`
	Worst     *float64 `json:"worst"`
	Threshold *float64 `json:"threshold"`
}

func encodePayload(t alert.Transition) (json.RawMessage, error) {
	return json.Marshal(payload{Transition: t, Value: finite(t.Value), Worst: finite(t.Worst), Threshold: finite(t.Threshold)})
}

func decodePayload(b json.RawMessage) (alert.Transition, error) {
	var p payload
	if err := json.Unmarshal(b, &p); err != nil {
		return alert.Transition{}, err
	}
	t := p.Transition
	t.Value, t.Worst, t.Threshold = orNaN(p.Value), orNaN(p.Worst), orNaN(p.Threshold)
	return t, nil
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// messageType is the type of a transition's message.
func messageType(t alert.Transition) string {
	if t.Kind == alert.PhaseFiring {
		return TypeFiring
	}
	return TypeResolved
}

// route makes a transition into jobs, one for each channel, that are due at now. A transition that is older than maxAge is news
// to nobody: it gets none. That happens when the events store was rebuilt, or after a long outage.
func route(t alert.Transition, now time.Time, maxAge time.Duration) ([]store.Job, error) {
	if now.Sub(t.At) > maxAge {
		return nil, nil
	}
	body, err := encodePayload(t)
	if err != nil {
		return nil, fmt.Errorf("encode transition %q: %w", t.ID, err)
	}
	channels := slices.Clone(t.Channels)
	slices.Sort(channels)
	var jobs []store.Job
	for _, c := range slices.Compact(channels) {
		jobs = append(jobs, store.Job{
			ID: JobID(t.Tenant, t.ID, c), Tenant: t.Tenant, Channel: c, Incident: t.Incident, Payload: body,
			State: store.JobQueued, NextAt: now, CreatedAt: now, UpdatedAt: now,
		})
	}
	return jobs, nil
}

// pump turns the transitions that were committed since the last time into jobs.
func (n *Notifier) pump(ctx context.Context, res *Result) error {
	position, err := n.queue.Position(ctx, tail)
	if err != nil {
		return fmt.Errorf("read the notifier's position: %w", err)
	}
	if position > 0 && n.resumed.CompareAndSwap(false, true) {
		if position, err = n.resume(ctx, position); err != nil {
			n.resumed.Store(false)
			return err
		}
	}
	for {
		page, err := n.transitions.Transitions(ctx, position, n.cfg.Page)
		if err != nil {
			return fmt.Errorf("read transitions after %d: %w", position, err)
		}
		if len(page) == 0 {
			return nil
		}
		var jobs []store.Job
		now := n.now()
		for i, t := range page {
			// A little apart, so that they are claimed in the order of their transitions.
			routed, err := route(t.Transition, now.Add(time.Duration(i-len(page))*time.Microsecond), n.cfg.MaxAge)
			if err != nil { // it will never be otherwise, and those behind it must get through
				n.log.Error("A transition cannot be notified of.", "tenant", t.Tenant, "transition", t.ID, "error", err)
			}
			jobs = append(jobs, routed...)
		}
		if n.keep != nil {
			if err := n.keep(ctx, page); err != nil {
				return fmt.Errorf("keep %d transitions: %w", len(page), err)
			}
		}
		position = page[len(page)-1].Number
		if err := n.queue.Enqueue(ctx, tail, position, jobs); err != nil {
			return fmt.Errorf("enqueue %d notifications: %w", len(jobs), err)
		}
		res.Read += len(page)
		res.Enqueued += len(jobs)
		if len(page) < n.cfg.Page {
			return nil
		}
	}
}

// resume checks that the position left by an earlier process still means something. A store that was rebuilt from the log may
// number its transitions anew, and then what is beyond the old position would not be seen for long: read it all again. The IDs
// keep what was enqueued from being enqueued twice, and route leaves out what is old.
func (n *Notifier) resume(ctx context.Context, position uint64) (uint64, error) {
	last, err := n.transitions.Transitions(ctx, position-1, 1)
	if err != nil {
		return 0, fmt.Errorf("read transition %d: %w", position, err)
	}
	if len(last) > 0 {
		return position, nil
	}
	n.log.Warn("The events store has fewer transitions than were read from it before; reading all of them again.", "position", position)
	return 0, nil
}

// before finds the job that must leave the queue before j may be sent: a channel hears of an incident's end after its
// beginning.
func (n *Notifier) before(ctx context.Context, j store.Job) (store.Job, bool, error) {
	jobs, err := n.queue.Jobs(ctx, j.Tenant, j.Incident, maxJobsOfIncident)
	if err != nil {
		return store.Job{}, false, fmt.Errorf("list the notifications of incident %q: %w", j.Incident, err)
	}
	i := slices.IndexFunc(jobs, func(o store.Job) bool {
		return o.Channel == j.Channel && o.ID != j.ID && o.State == store.JobQueued && firing(o)
	})
	if i < 0 {
		return store.Job{}, false, nil
	}
	return jobs[i], true, nil
}

// maxJobsOfIncident is far more than an incident has: two for each of its channels.
const maxJobsOfIncident = 1000

func firing(j store.Job) bool {
	t, err := decodePayload(j.Payload)
	return err == nil && t.Kind == alert.PhaseFiring
}

var errNoChannel = errors.New("the channel does not exist any more: take it out of the rule, or make it anew")
