package catalog

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Note is what somebody did about an incident.
type Note struct {
	Kind string    `json:"kind"` // "ack" or "comment"
	Text string    `json:"text,omitempty"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// maxNotes bounds the notes of one incident.
const maxNotes = 500

// Notes returns the notes of an incident, oldest first.
func (c *Catalog) Notes(ctx context.Context, t tenant.ID, incident string) ([]Note, error) {
	e, err := get[[]Note](ctx, c, t, store.KindNote, incident)
	if isNotFound(err) {
		return nil, nil
	}
	return e.Value, err
}

// AllNotes returns the notes of a tenant's incidents, by incident.
func (c *Catalog) AllNotes(ctx context.Context, t tenant.ID) (map[string][]Note, error) {
	es, err := list[[]Note](ctx, c, t, store.KindNote)
	out := make(map[string][]Note, len(es))
	for _, e := range es {
		out[e.Slug] = e.Value
	}
	return out, err
}

// AddNote adds a note to an incident.
func (c *Catalog) AddNote(ctx context.Context, t tenant.ID, incident string, n Note) error {
	for {
		e, err := get[[]Note](ctx, c, t, store.KindNote, incident)
		when := Condition(e.Revision)
		if isNotFound(err) {
			when, err = IfMissing, nil
		}
		if err != nil {
			return err
		}
		if len(e.Value) >= maxNotes {
			return ErrFull
		}
		_, err = put(ctx, c, change{tenant: t, kind: store.KindNote, slug: incident, when: when}, append(e.Value, n))
		if !isConflict(err) || ctx.Err() != nil {
			return err
		}
	}
}
