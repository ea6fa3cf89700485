package ingest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

const (
	// perRequest is what a request takes beside its body.
	perRequest = 4 << 10
	// SmallBody is how many bytes are parsed at once, without waiting for a turn: it takes no longer than the wait would.
	SmallBody = 16 << 10
)

// Visit is one request that was let in, and what it occupies until it ends.
type Visit struct {
	door    *Door
	sender  Sender
	size    int64 // bytes in the room
	body    int64
	tenant  limit.Decision
	key     limit.Decision
	events  int   // taken
	written int64 // bytes of them in the log
}

// Admit decides whether a request may come in before anything of its body is read: that is what makes a refusal cheap. Length is that
// of the body, -1 if it is not known. Its error is a Problem; it sets the RateLimit headers of the answer. Without an error, End has to
// follow.
func (d *Door) Admit(h http.Header, s Sender, length int64) (*Visit, error) {
	if err := d.ready(); err != nil {
		d.refused(s.Tenant, "pressure")
		return nil, unavailable(err)
	}
	v := &Visit{door: d, sender: s, body: min(max(length, 0), event.MaxBodyBytes)}
	v.size = v.body + perRequest
	if err := v.limits(h); err != nil {
		return nil, err
	}
	if err := d.room.Enter(s.Tenant, v.size); err != nil {
		v.count()
		return nil, d.full(s.Tenant, err)
	}
	return v, nil
}

// full is the answer when there is no room.
func (d *Door) full(t tenant.ID, err error) *web.Problem {
	reason := "memory"
	if errors.Is(err, limit.ErrBehind) {
		reason = "backlog"
	}
	d.refused(t, reason)
	return unavailable(err)
}

func unavailable(err error) *web.Problem {
	p := web.NewProblem(http.StatusServiceUnavailable, "Events can't be taken now: "+err.Error()+". Send them again.")
	p.RetryAfter = 2 * time.Second
	return p
}

// End gives back what the request occupied.
func (v *Visit) End() {
	v.count()
	v.door.room.Leave(v.sender.Tenant, v.size, v.written)
}

// ReadBody reads the request's body, at most limit bytes. Its error is a Problem.
func (v *Visit) ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return v.readBody(w, r, nil, limit)
}

// readBody is ReadBody into memory that is there already.
func (v *Visit) readBody(w http.ResponseWriter, r *http.Request, buf []byte, limit int64) ([]byte, error) {
	body, err := web.ReadBody(w, r, buf, limit, v.grow)
	v.body = int64(len(body))
	return body, err
}

// grow makes room for a body whose length was not known, or which is compressed.
func (v *Visit) grow(body int64) error {
	more := body + perRequest - v.size
	if more <= 0 {
		return nil
	}
	if err := v.door.room.Grow(v.sender.Tenant, more); err != nil {
		return v.door.full(v.sender.Tenant, err)
	}
	v.size += more
	return nil
}

// inTurn does what keeps a processor busy, in turn with the other tenants'.
func (v *Visit) inTurn(ctx context.Context, do func() error) error {
	if err := v.door.turns.Begin(ctx, v.sender.Tenant); err != nil {
		return unavailable(err)
	}
	defer v.door.turns.End()
	return do()
}

// Take writes events to the log and returns once they are on disk. Its error is a Problem.
func (v *Visit) Take(ctx context.Context, events []event.Event) (err error) {
	v.written, err = v.door.take(ctx, v.sender.Tenant, events)
	if err == nil || v.written > 0 {
		v.events = len(events)
		v.taken(events)
	}
	return err
}

// TakeVerified is Take for the events of a verified webhook: they belong to a source, and a time outside the
// tenant's retention is refused like any other. Its error is a Problem.
func (v *Visit) TakeVerified(ctx context.Context, source string, events []event.Event) error {
	now := v.door.now().UTC()
	for i := range events {
		events[i].Source = source
		if p := event.CheckTime(events[i].Time, now, v.sender.Retention); p != nil {
			problem := web.NewProblem(http.StatusUnprocessableEntity, p.Detail)
			problem.Code = p.Code
			return problem
		}
	}
	return v.Take(ctx, events)
}

// Take writes events that nobody sends now: those that leave quarantine. Its error is a Problem.
func (d *Door) Take(ctx context.Context, t tenant.ID, events []event.Event) error {
	_, err := d.take(ctx, t, events)
	return err
}

func (d *Door) take(ctx context.Context, t tenant.ID, events []event.Event) (written int64, err error) {
	if len(events) == 0 {
		return 0, nil
	}
	written, err = d.committer.Commit(ctx, t, events)
	switch {
	case err == nil:
		return written, nil
	case errors.Is(err, ErrOverloaded), errors.Is(err, ErrStopped):
		return written, unavailable(err)
	case ctx.Err() != nil: // the client went away; nobody reads this
		return written, unavailable(ctx.Err())
	}
	d.log.Error("events could not be written to the log: look for a full or failing disk", "tenant.id", string(t), "error.message", err.Error())
	return written, unavailable(errors.New("the log could not write them"))
}
