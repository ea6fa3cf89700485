package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/web"
)

type channelInput struct {
	Slug   string         `json:"slug,omitempty" maxLength:"63"`
	Name   string         `json:"name,omitempty" maxLength:"200"`
	Type   string         `json:"type" doc:"webhook or email." example:"webhook"`
	Config map[string]any `json:"config" doc:"webhook: url, secret (made when missing). email: to, from, host, port, username, password, tls (starttls, implicit or none). Secrets are never shown again; left out of a change they stay."`
}

type channelView struct {
	Slug      string          `json:"slug"`
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Config    json.RawMessage `json:"config" doc:"Without its secrets."`
	Secret    string          `json:"secret,omitempty" doc:"The secret that was made, shown this once."`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

func (a *api) viewChannel(e *catalog.Entry[catalog.Channel]) (channelView, error) {
	v := channelView{Slug: e.Slug, Name: e.Value.Name, Type: e.Value.Type, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
	if v.Name == "" {
		v.Name = e.Slug
	}
	typ, ok := a.Channels[e.Value.Type]
	if !ok {
		v.Config = json.RawMessage("{}") // a type that this build no longer has: nothing can be told apart from secrets
		return v, nil
	}
	var err error
	v.Config, err = typ.Redact(e.Value.Config)
	return v, err
}

func (a *api) channelRoutes() {
	const tag = "Channels"
	register(a, operation{method: http.MethodGet, path: "/v1/channels", id: "list-channels", tag: tag, permission: auth.ChannelsRead, summary: "All channels"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[channelView]], error) {
			entries, err := a.Catalog.Channels(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			return listOf(entries, a.viewChannel)
		})
	register(a, operation{method: http.MethodGet, path: "/v1/channels/{slug}", id: "get-channel", tag: tag, permission: auth.ChannelsRead,
		summary: "One channel", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *SlugPath) (*versioned[channelView], error) {
			e, err := a.Catalog.Channel(ctx, p.Tenant, in.Slug)
			if err != nil {
				return nil, err
			}
			v, err := a.viewChannel(&e)
			return withETag(e.Revision, false, v), err
		})
	register(a, operation{method: http.MethodPut, path: "/v1/channels/{slug}", id: "put-channel", tag: tag, permission: auth.ChannelsWrite,
		summary: "Make or change a channel", errors: []int{http.StatusPreconditionFailed}}, a.putChannel)
	registerDelete(a, operation{path: "/v1/channels/{slug}", id: "delete-channel", tag: tag, permission: auth.ChannelsWrite, summary: "Remove a channel", errors: []int{http.StatusConflict}}, a.Catalog.DeleteChannel)
	register(a, operation{method: http.MethodPost, path: "/v1/channels/{slug}/test", id: "test-channel", tag: tag, permission: auth.ChannelsWrite,
		summary: "Send a test message now, and say how it went", errors: []int{http.StatusNotFound}}, a.testChannel)
}

func (a *api) putChannel(ctx context.Context, p auth.Principal, in *struct {
	SlugPath
	Conditional
	Body channelInput
}) (*versioned[channelView], error) {
	when, err := in.begin(in.Slug, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	typ, err := a.Channels.Type(in.Body.Type)
	if err != nil {
		return nil, unprocessable("The type is not known.", web.FieldError{Location: "body.type", Message: err.Error()})
	}
	old, err := a.Catalog.Channel(ctx, p.Tenant, in.Slug)
	created := isNotFound(err)
	if err != nil && !created {
		return nil, err
	}
	var stored json.RawMessage
	if !created && old.Value.Type == in.Body.Type {
		stored = old.Value.Config
	}
	entered, err := json.Marshal(in.Body.Config)
	if err != nil {
		return nil, err
	}
	config, made, err := typ.Configure(entered, stored)
	if err != nil {
		return nil, err
	}
	e, err := a.Catalog.PutChannel(ctx, p.Tenant, in.Slug, catalog.Channel{Name: in.Body.Name, Type: in.Body.Type, Config: config}, when)
	if err != nil {
		return nil, in.stale(err)
	}
	v, err := a.viewChannel(&e)
	v.Secret = made["secret"]
	return withETag(e.Revision, created, v), err
}

func (a *api) testChannel(ctx context.Context, p auth.Principal, in *SlugPath) (*body[channelReport], error) {
	e, err := a.Catalog.Channel(ctx, p.Tenant, in.Slug)
	if err != nil {
		return nil, err
	}
	r := a.Tester.Test(ctx, notify.Channel{Tenant: p.Tenant, Slug: e.Slug, Name: e.Value.Name, Type: e.Value.Type, Config: e.Value.Config})
	return &body[channelReport]{channelReport{OK: r.OK, Status: r.Status, DurationMS: r.Duration.Milliseconds(), Detail: r.Detail}}, nil
}

type channelReport struct {
	OK         bool   `json:"ok"`
	Status     int    `json:"status" doc:"The protocol's answer; 0 when there was none."`
	DurationMS int64  `json:"duration_ms"`
	Detail     string `json:"detail"`
}
