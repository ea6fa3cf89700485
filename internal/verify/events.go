package verify

import (
	"errors"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// dedupeWindow is for how long source and id of an event are remembered: by the contract an event that is sent again within it is
// counted once, later it is a new one.
const dedupeWindow = 24 * time.Hour

// once finds events that are stored twice.
type once struct {
	check *Check
	seen  map[event.Key]time.Time // when it was received
}

func newOnce(r *Report, t tenant.ID) *once {
	return &once{check: r.check("events of "+string(t)+" are unique", "events"), seen: map[event.Key]time.Time{}}
}

// add looks at one stored event, in any order.
func (o *once) add(t tenant.ID, ev *event.Event) {
	o.check.Looked++
	k := event.IdentityKey(t, ev.Source, ev.ID)
	before, ok := o.seen[k]
	if ok && ev.Received.Sub(before).Abs() < dedupeWindow {
		o.check.violation("source %q, id %q is stored twice: received %s and %s", ev.Source, ev.ID, before.Format(time.RFC3339Nano), ev.Received.Format(time.RFC3339Nano))
	}
	if !ok || ev.Received.After(before) {
		o.seen[k] = ev.Received
	}
}

// Losses says which acknowledged events the installation itself says it doesn't have, and why.
type Losses interface {
	// Quarantined and Dropped say whether the event is accounted for.
	Quarantined(k ledger.Key) bool
	Dropped(k ledger.Key) bool
}

// NoLosses accounts for nothing.
type NoLosses struct{}

// Quarantined implements Losses.
func (NoLosses) Quarantined(ledger.Key) bool { return false }

// Dropped implements Losses.
func (NoLosses) Dropped(ledger.Key) bool { return false }

// accounts compares a ledger with stored events.
type accounts struct {
	ledger *ledger.Ledger
	result LedgerResult
	stored map[ledger.Key]int
	lost   *Check
	twice  *Check
	sent   *Check
	same   *Check
}

func newAccounts(r *Report, l *ledger.Ledger) *accounts {
	a := &accounts{ledger: l, stored: map[ledger.Key]int{},
		lost:  r.check("acknowledged events are stored", "acknowledged events"),
		twice: r.check("sent events are stored once", "stored events"),
		sent:  r.check("stored events were sent", "stored events"),
		same:  r.check("stored events are as they were sent", "stored events")}
	return a
}

// add looks at one stored event, in any order.
func (a *accounts) add(ev *event.Event) {
	a.sent.Looked++
	rec, ok := a.ledger.Find(ev.Source, ev.ID, ev.Subject)
	if !ok {
		a.result.Phantom++
		a.sent.violation("source %q, id %q, subject %q, received %s was never sent", ev.Source, ev.ID, ev.Subject, ev.Received.Format(time.RFC3339Nano))
		return
	}
	if rec.Outcome() == ledger.Refused {
		a.result.Phantom++
		a.sent.violation("source %q, id %q, subject %q was refused each time it was sent", ev.Source, ev.ID, ev.Subject)
	}
	a.twice.Looked++
	k := rec.Key()
	if a.stored[k]++; a.stored[k] > 1 {
		// Without an id there is no idempotency: what was sent n times may be there n times.
		if rec.ID != "" || a.stored[k] > rec.Sent {
			a.result.Doubled++
			a.twice.violation("source %q, id %q, subject %q was sent %d times and is stored %d times", ev.Source, ev.ID, ev.Subject, rec.Sent, a.stored[k])
		}
	} else {
		a.result.Stored++
	}
	a.same.Looked++
	if what := altered(&rec, ev); what != "" {
		a.result.Altered++
		a.same.violation("source %q, id %q, subject %q: %s", ev.Source, ev.ID, ev.Subject, what)
	}
}

func altered(rec *ledger.Record, ev *event.Event) string {
	switch {
	case rec.Type != "" && rec.Type != ev.Type:
		return "the type is " + ev.Type + ", sent was " + rec.Type
	case !rec.Time.IsZero() && !rec.Time.Equal(ev.Time):
		return "the time is " + ev.Time.Format(time.RFC3339Nano) + ", sent was " + rec.Time.Format(time.RFC3339Nano)
	case rec.Subject != "" && rec.Subject != ev.Subject:
		return "the subject is " + ev.Subject + ", sent was " + rec.Subject
	case rec.Data != "" && rec.Data != ledger.Fingerprint(ev.Data):
		return "the data are others than were sent"
	}
	return ""
}

// finish looks for what is missing.
func (a *accounts) finish(losses Losses) *LedgerResult {
	a.result.Totals = a.ledger.Totals()
	for _, rec := range a.ledger.Records() {
		if rec.Outcome() != ledger.Acknowledged {
			continue
		}
		a.lost.Looked++
		switch k := rec.Key(); {
		case a.stored[k] > 0:
		case losses.Quarantined(k):
			a.result.Quarantined++
		case losses.Dropped(k):
			a.result.Dropped++
		default:
			a.result.Lost++
			a.lost.violation("source %q, id %q, subject %q, type %q was acknowledged and is not stored", rec.Source, rec.ID, rec.Subject, rec.Type)
		}
	}
	return &a.result
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")
