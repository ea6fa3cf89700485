package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

type keyInput struct {
	Name      string            `json:"name" minLength:"1" maxLength:"200" doc:"For people, and the source of events that name none." example:"checkout"`
	Role      auth.Role         `json:"role" enum:"owner,admin,editor,viewer,ingest" doc:"ingest for keys inside applications: it may only send events."`
	Scopes    []auth.Permission `json:"scopes,omitempty" maxItems:"64" doc:"Permissions that the key is held to, of those that its role has; all of them when missing." example:"[\"events:write\"]"`
	ExpiresAt *time.Time        `json:"expires_at,omitempty" doc:"When it stops being good; never when missing."`
	RateLimit float64           `json:"rate_limit,omitempty" minimum:"0" maximum:"1e9" doc:"Events a second that may be sent with it on average, beside what the tenant may; no limit of its own when missing or 0."`
	// Operator is how the first key is replaced.
	Operator bool `json:"operator,omitempty" doc:"Make an operator's key of the installation. Only an operator can, for their own tenant."`
}

type keyView struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Role      auth.Role         `json:"role"`
	Scopes    []auth.Permission `json:"scopes,omitempty" doc:"Permissions that it is held to; none: all that its role may do."`
	Operator  bool              `json:"operator,omitempty" doc:"The key is an operator's of the installation."`
	ExpiresAt *time.Time        `json:"expires_at,omitempty"`
	RateLimit float64           `json:"rate_limit,omitempty" doc:"Events a second that may be sent with it on average."`
	CreatedBy string            `json:"created_by"`
	CreatedAt time.Time         `json:"created_at"`
	UsedAt    *time.Time        `json:"last_used_at,omitempty" doc:"To the minute, by itself or by an access token; absent: never."`
	Secret    string            `json:"secret,omitempty" doc:"The key itself, ps_<id>_<secret>: shown this once."`
}

func viewKey(k *auth.StoredKey) keyView {
	v := keyView{ID: k.ID, Name: k.Name, Role: k.Role, Scopes: k.Scopes, Operator: k.Operator, ExpiresAt: k.ExpiresAt, RateLimit: k.RateLimit, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt}
	if !k.UsedAt.IsZero() {
		v.UsedAt = &k.UsedAt
	}
	return v
}

type rotateInput struct {
	Overlap string `json:"overlap,omitempty" doc:"How long the old key stays good beside the new one, at most 30 days: 24h when missing." example:"24h"`
}

// Bounds of the overlap of a rotation.
const (
	usualOverlap = 24 * time.Hour
	mostOverlap  = 30 * 24 * time.Hour
)

// KeyPath is the path of an API key.
type KeyPath struct {
	ID string `path:"id" maxLength:"63"`
}

func (a *api) keyRoutes() {
	const tag = "Keys"
	register(a, operation{method: http.MethodGet, path: "/v1/keys", id: "list-keys", tag: tag, permission: auth.KeysRead, summary: "All API keys of the tenant, without their secrets"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[keyView]], error) {
			keys, err := a.Keyring.List(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			out := list[keyView]{Data: make([]keyView, 0, len(keys))}
			for i := range keys {
				out.Data = append(out.Data, viewKey(&keys[i]))
			}
			return &body[list[keyView]]{out}, nil
		})
	register(a, operation{method: http.MethodGet, path: "/v1/keys/{id}", id: "get-key", tag: tag, permission: auth.KeysRead,
		summary: "One API key, without its secret", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *KeyPath) (*body[keyView], error) {
			k, err := a.Keyring.Get(ctx, p.Tenant, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[keyView]{viewKey(&k)}, nil
		})
	register(a, operation{method: http.MethodPost, path: "/v1/keys", id: "make-key", tag: tag, permission: auth.KeysWrite, status: http.StatusCreated,
		summary: "Make an API key", description: "The answer shows its secret, this once. Nobody can make a key that may do more than the one that asks."},
		func(ctx context.Context, p auth.Principal, in *struct{ Body keyInput }) (*body[keyView], error) {
			v, err := a.makeKey(ctx, p, p.Tenant, in.Body)
			return &body[keyView]{v}, err
		})
	register(a, operation{method: http.MethodPost, path: "/v1/keys/{id}/rotate", id: "rotate-key", tag: tag, permission: auth.KeysWrite, status: http.StatusCreated,
		summary: "Replace an API key", description: "Makes a key that may do the same, and has the old one expire when the overlap is over. The answer shows the new secret, this once.",
		errors: []int{http.StatusNotFound, http.StatusConflict}}, a.rotateKey)
	register(a, operation{method: http.MethodDelete, path: "/v1/keys/{id}", id: "revoke-key", tag: tag, permission: auth.KeysWrite, status: http.StatusNoContent,
		summary: "Revoke an API key", description: "It is refused from the moment of the answer. A key cannot revoke itself.", errors: []int{http.StatusNotFound, http.StatusConflict}},
		func(ctx context.Context, p auth.Principal, in *KeyPath) (*struct{}, error) {
			return nil, a.Keyring.Revoke(ctx, p, in.ID)
		})
}

func (a *api) makeKey(ctx context.Context, p auth.Principal, t tenant.ID, in keyInput) (keyView, error) {
	if bad := event.CheckAttribute("source", in.Name); bad != nil {
		return keyView{}, unprocessable("The name is not right.", web.FieldError{Location: "body.name", Message: bad.Detail})
	}
	if _, err := auth.NewScope(in.Scopes); err != nil {
		return keyView{}, unprocessable("The scopes are not right.", web.FieldError{Location: "body.scopes", Message: err.Error()})
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(a.Now()) {
		return keyView{}, unprocessable("The key would be good for nothing.", web.FieldError{Location: "body.expires_at", Message: "give a time that is to come"})
	}
	k, full, err := a.Keyring.Make(ctx, t, auth.Key{Name: in.Name, Role: in.Role, Scopes: in.Scopes, ExpiresAt: in.ExpiresAt, RateLimit: in.RateLimit, Operator: in.Operator}, p)
	v := viewKey(&k)
	v.Secret = full
	return v, err
}

func (a *api) rotateKey(ctx context.Context, p auth.Principal, in *struct {
	KeyPath
	Body rotateInput
}) (*body[keyView], error) {
	overlap := usualOverlap
	if text := in.Body.Overlap; text != "" {
		d, err := series.ParseDuration(text)
		if err != nil || d < 0 || time.Duration(d) > mostOverlap {
			return nil, unprocessable("The overlap is not right.", web.FieldError{Location: "body.overlap", Message: "write 0s to 30d, such as 24h"})
		}
		overlap = time.Duration(d)
	}
	k, full, err := a.Keyring.Rotate(ctx, p, in.ID, overlap)
	v := viewKey(&k)
	v.Secret = full
	return &body[keyView]{v}, err
}
