package app

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// newPeople makes what lets people in.
func (a *App) newPeople(things *audit.Catalog) *signin.Service {
	r := &refusals{app: a, things: things, of: map[tenant.ID]*refusedMinute{}}
	a.whileRunning(r.run)
	return signin.New(signin.Config{Catalog: a.catalog, Log: a.opts.Log, Now: a.opts.Now, Failed: r.refused})
}

// maxRefusals is how many sign-ins that were refused a tenant's audit log names in a minute. Strangers make them, and the log is kept for ever: of the others it says how
// many there were.
const maxRefusals = 60

// refusals writes into a tenant's audit log who was not let in. Nobody comes in by it, so where it cannot be written the log of the server has to do.
type refusals struct {
	app    *App
	things *audit.Catalog

	mu sync.Mutex
	of map[tenant.ID]*refusedMinute
}

// refusedMinute is what there was since it began.
type refusedMinute struct {
	began       time.Time
	named, more int
}

func (r *refusals) refused(ctx context.Context, f signin.Failure) {
	if _, err := r.app.catalog.Tenant(ctx, f.Tenant); err != nil {
		return // whoever asks for a tenant that there is not makes no chain of it
	}
	if !r.named(f.Tenant, r.app.opts.Now()) {
		return
	}
	e := audit.Event{Action: "session.refuse", Kind: store.KindMember, Slug: f.Member, Details: map[string]string{"method": string(f.Method), "reason": f.Reason}}
	if f.Member == "" {
		e.Kind = store.KindSession
	}
	r.note(ctx, audit.Actor{Tenant: f.Tenant, Subject: "anonymous", Address: f.From.Address, UserAgent: f.From.UserAgent}, e)
}

// named says whether one more is named, or only counted.
func (r *refusals) named(t tenant.ID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of[t]
	if m == nil {
		m = &refusedMinute{began: now}
		r.of[t] = m
	}
	if m.named == maxRefusals {
		m.more++
		return false
	}
	m.named++
	return true
}

// over takes the minutes that have ended by a time, and gives how many were only counted.
func (r *refusals) over(by time.Time) map[tenant.ID]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := map[tenant.ID]int{}
	for t, m := range r.of {
		if by.Before(m.began.Add(time.Minute)) {
			continue
		}
		delete(r.of, t)
		if m.more > 0 {
			more[t] = m.more
		}
	}
	return more
}

// run says how many were only counted, when a minute is over, and when ctx ends.
func (r *refusals) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.tell(ctx, r.app.opts.Now())
		case <-ctx.Done():
			r.tell(context.WithoutCancel(ctx), r.app.opts.Now().Add(time.Minute))
			return
		}
	}
}

func (r *refusals) tell(ctx context.Context, by time.Time) {
	for t, n := range r.over(by) {
		r.note(ctx, audit.Actor{Tenant: t, Subject: "anonymous"},
			audit.Event{Action: "session.refuse", Kind: store.KindSession, Details: map[string]string{"reason": "more sign-ins than are named were refused within a minute", "more": strconv.Itoa(n)}})
	}
}

func (r *refusals) note(ctx context.Context, by audit.Actor, e audit.Event) {
	if err := r.things.Note(audit.As(ctx, by), by.Tenant, e); err != nil {
		r.app.opts.Log.Error("a sign-in that was refused is not in the audit log", "tenant.id", string(by.Tenant), "error.message", err.Error())
	}
}
