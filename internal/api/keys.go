package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

type keyInput struct {
	Name string    `json:"name" minLength:"1" maxLength:"200" doc:"For people, and the source of events that name none." example:"checkout"`
	Role auth.Role `json:"role" enum:"owner,admin,editor,viewer,ingest" doc:"ingest for keys inside applications: it may only send events."`
	// Operator is how the first key is replaced.
	Operator bool `json:"operator,omitempty" doc:"Make an operator's key of the installation. Only an operator can, for their own tenant."`
}

type keyView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      auth.Role `json:"role"`
	Operator  bool      `json:"operator,omitempty" doc:"The key is an operator's of the installation."`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	Secret    string    `json:"secret,omitempty" doc:"The key itself, ps_<id>_<secret>: shown this once."`
}

func viewKey(k *auth.StoredKey) keyView {
	return keyView{ID: k.ID, Name: k.Name, Role: k.Role, Operator: k.Operator, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt}
}

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
	k, full, err := a.Keyring.Make(ctx, t, auth.Key{Name: in.Name, Role: in.Role, Operator: in.Operator}, p)
	v := viewKey(&k)
	v.Secret = full
	return v, err
}
