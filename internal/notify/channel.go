package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Channel is a way to reach somebody, as a tenant has configured it.
type Channel struct {
	Tenant tenant.ID
	Slug   string
	Name   string
	Type   string
	// Config is in the shape of the type, secrets included.
	Config json.RawMessage
}

// channelBody is the catalog's form of a channel; tenant and slug are the resource's.
type channelBody struct {
	Name   string          `json:"name,omitempty"`
	Type   string          `json:"type"`
	Config json.RawMessage `json:"config"`
}

// Body is the channel as the body of its resource in the catalog.
func (c Channel) Body() (json.RawMessage, error) {
	b, err := json.Marshal(channelBody{Name: c.Name, Type: c.Type, Config: c.Config})
	if err != nil {
		return nil, fmt.Errorf("encode channel %q: %w", c.Slug, err)
	}
	return b, nil
}

// ChannelOf reads a channel out of its resource in the catalog.
func ChannelOf(r store.Resource) (Channel, error) {
	var b channelBody
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return Channel{}, fmt.Errorf("decode channel %q: %w", r.Slug, err)
	}
	return Channel{Tenant: r.Tenant, Slug: r.Slug, Name: b.Name, Type: b.Type, Config: b.Config}, nil
}

// Channels finds a tenant's channel; store.ErrNotFound when there is none of that name.
type Channels interface {
	Channel(ctx context.Context, t tenant.ID, slug string) (Channel, error)
}

// ChannelsFunc is a function as Channels.
type ChannelsFunc func(ctx context.Context, t tenant.ID, slug string) (Channel, error)

// Channel calls f.
func (f ChannelsFunc) Channel(ctx context.Context, t tenant.ID, slug string) (Channel, error) {
	return f(ctx, t, slug)
}

// Resources is what CatalogChannels needs of the catalog.
type Resources interface {
	Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error)
}

// CatalogChannels finds channels in the catalog. It reads at each call, so that a channel that was put right takes effect at
// the next attempt.
func CatalogChannels(catalog Resources) Channels {
	return ChannelsFunc(func(ctx context.Context, t tenant.ID, slug string) (Channel, error) {
		r, err := catalog.Get(ctx, t, store.KindChannel, slug)
		if err != nil {
			return Channel{}, fmt.Errorf("channel %q: %w", slug, err)
		}
		return ChannelOf(r)
	})
}

// Report says how a test of a channel went.
type Report struct {
	OK       bool
	Status   int // the protocol's; 0 when there was none
	Duration time.Duration
	Detail   string
}

// MarshalJSON gives the form of the public contract.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		OK       bool   `json:"ok"`
		Status   int    `json:"status"`
		Duration int64  `json:"duration_ms"`
		Detail   string `json:"detail"`
	}{r.OK, r.Status, r.Duration.Milliseconds(), r.Detail})
}

// send makes one attempt within timeout.
func (r Registry) send(ctx context.Context, m Message, timeout time.Duration, now func() time.Time) (o Outcome) {
	typ, err := r.Type(m.Channel.Type)
	if err != nil {
		return Rejected(err, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := now()
	defer func() {
		// One message that a sender cannot stomach must not take the server down, again and again at each start.
		if p := recover(); p != nil {
			o = Rejected(fmt.Errorf("internal error: the sender of type %s panicked: %v", m.Channel.Type, p), 0)
		}
		o.Duration = now().Sub(start)
	}()
	o = typ.Send(ctx, m)
	if o.Err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		o.Err = fmt.Errorf("no answer within %s: %w", timeout, o.Err)
	}
	return o
}
