package catalog

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Channel is a way to reach somebody. Its JSON is the one that package notify reads.
type Channel struct {
	Name   string          `json:"name,omitempty"`
	Type   string          `json:"type"`
	Config json.RawMessage `json:"config"` // secrets included
}

// Channel returns a channel or store.ErrNotFound.
func (c *Catalog) Channel(ctx context.Context, t tenant.ID, slug string) (Entry[Channel], error) {
	return get[Channel](ctx, c, t, store.KindChannel, slug)
}

// Channels returns all channels of a tenant, by slug.
func (c *Catalog) Channels(ctx context.Context, t tenant.ID) ([]Entry[Channel], error) {
	return list[Channel](ctx, c, t, store.KindChannel)
}

// PutChannel creates or changes a channel.
func (c *Catalog) PutChannel(ctx context.Context, t tenant.ID, slug string, ch Channel, when Condition) (Entry[Channel], error) {
	return put(ctx, c, change{tenant: t, kind: store.KindChannel, slug: slug, when: when}, ch)
}

// DeleteChannel removes a channel. An InUseError when a rule names it.
func (c *Catalog) DeleteChannel(ctx context.Context, t tenant.ID, slug string, when Condition) error {
	rules, err := c.Rules(ctx, t)
	if err != nil {
		return err
	}
	for _, r := range rules {
		for _, name := range r.Value.Channels {
			if name == slug {
				return &InUseError{Kind: "rule", Slug: r.Slug}
			}
		}
	}
	return c.remove(ctx, t, store.KindChannel, slug, when)
}

// ErrFull is returned when a bounded list has no room left.
var ErrFull = errors.New("there is no room for more")

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
func isConflict(err error) bool { return errors.Is(err, store.ErrConflict) }
