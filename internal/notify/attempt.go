package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
)

// attempt tries to deliver a job. It returns the job as it is to be recorded, and what was learnt about the channel: nil for
// nothing.
func (n *Notifier) attempt(ctx context.Context, j store.Job) (store.Job, *Outcome) {
	t, err := decodePayload(j.Payload)
	if err != nil {
		return n.settled(j, Rejected(fmt.Errorf("the notification is damaged: %w", err), 0)), nil
	}
	if messageType(t) == TypeResolved && j.Incident != "" {
		if first, waits, err := n.before(ctx, j); err != nil || waits {
			return n.held(j, first, err), nil
		}
	}
	o := n.deliver(ctx, j, t)
	if o.Err != nil && ctx.Err() != nil { // broken off by Stop: not the channel's failure
		j.State, j.NextAt, j.UpdatedAt = store.JobQueued, n.now(), n.now()
		return j, nil
	}
	return n.settled(j, o), &o
}

// held puts the end of an incident behind its beginning: it is due right after that.
func (n *Notifier) held(j, first store.Job, err error) store.Job {
	now := n.now()
	j.State, j.UpdatedAt = store.JobQueued, now
	if err != nil {
		n.log.Warn("A notification has to wait, since the queue cannot be read.", "tenant", j.Tenant, "job", j.ID, "error", err)
		j.NextAt = now.Add(n.cfg.Poll)
		return j
	}
	j.Error = "waiting until the beginning of the incident is delivered"
	j.NextAt = later(first.NextAt, now).Add(time.Millisecond)
	return j
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *Notifier) deliver(ctx context.Context, j store.Job, t alert.Transition) Outcome {
	c, err := n.channels.Channel(ctx, j.Tenant, j.Channel)
	if errors.Is(err, store.ErrNotFound) {
		return Rejected(errNoChannel, 0)
	}
	if err != nil {
		n.log.Warn("A channel cannot be read.", "tenant", j.Tenant, "channel", j.Channel, "error", err)
		return Failed(errors.New("the channel's configuration cannot be read at the moment"), 0)
	}
	m := Message{ID: j.ID, Type: messageType(t), Channel: c, Attempt: j.Attempts, Transition: t}
	if n.incidentURL != nil {
		m.URL = n.incidentURL(t)
	}
	return n.types.send(ctx, m, n.cfg.Timeout, n.now)
}

// settled decides, counts and logs.
func (n *Notifier) settled(j store.Job, o Outcome) store.Job {
	done := settle(j, o, n.now())
	attrs := []any{"tenant", j.Tenant, "channel", j.Channel, "incident", j.Incident, "job", j.ID, "attempt", j.Attempts, "status", o.Status, "duration", o.Duration}
	switch done.State {
	case store.JobDone:
		n.delivered.Add(1)
		n.log.Info("A notification was delivered.", attrs...)
	case store.JobDead:
		n.dead.Add(1)
		n.log.Warn("A notification was given up.", append(attrs, "error", o.Err)...)
	default:
		n.retried.Add(1)
		n.log.Info("A notification was not delivered; it is tried again.", append(attrs, "error", o.Err, "next_at", done.NextAt)...)
	}
	return done
}

// Test sends a test message by a channel now, whether the notifier is started or not, and says how it went. Nothing is
// queued or repeated.
func (n *Notifier) Test(ctx context.Context, c Channel) Report {
	now := n.now().UTC()
	t := alert.Transition{
		ID: "test-" + now.Format(time.RFC3339Nano), Tenant: c.Tenant, Incident: "test", Rule: "test", RuleName: "Test", Metric: "events",
		Labels: map[string]string{"test": "true"}, Kind: alert.PhaseFiring, At: now, StartedAt: now, PendingAt: now, Value: 1, Severity: "info",
		Summary:     "This is a test of the channel " + c.Slug + ".",
		Explanation: "Somebody asked for it. Nothing is wrong.",
		Channels:    []string{c.Slug},
	}
	m := Message{ID: JobID(c.Tenant, t.ID, c.Slug), Type: TypeTest, Channel: c, Attempt: 1, Transition: t}
	o := n.types.send(ctx, m, n.cfg.Timeout, n.now)
	r := Report{OK: o.Err == nil, Status: o.Status, Duration: o.Duration, Detail: o.Detail}
	switch {
	case o.Err != nil:
		r.Detail = brief(o.Err.Error())
	case r.Detail == "":
		r.Detail = "delivered"
	}
	return r
}
