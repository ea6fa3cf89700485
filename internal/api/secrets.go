package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/web"
)

// Secrets is how secrets in the catalog are kept.
type Secrets interface {
	Status(ctx context.Context) (vault.Status, error)
	Rotate(ctx context.Context) error
	// Concern says what is not as it should be, or nothing.
	Concern() string
}

type secretsView struct {
	Encrypted bool          `json:"encrypted" doc:"false: secrets are plain text, because no master key was given."`
	MasterKey string        `json:"master_key,omitempty" doc:"A name of the master key, which tells nothing of it."`
	SelfMade  bool          `json:"self_made,omitempty" doc:"The server has made the master key itself: it is in the data directory, and in backups."`
	DataKeys  []dataKeyView `json:"data_keys" doc:"The newest first."`
	Resources int           `json:"resources" doc:"How many hold secrets: sources, channels, keys that sign, …"`
	Plain     int           `json:"plain" doc:"Those that are still plain text."`
	Rotating  bool          `json:"rotating" doc:"Some are not under the current data key yet; they are encrypted anew in the background."`
	Progress  float64       `json:"progress" doc:"The share that is under the current data key, from 0 to 1."`
	Error     string        `json:"error,omitempty" doc:"Why the last attempt at that did not come to its end. It is tried again."`
}

type dataKeyView struct {
	Number    int64     `json:"number"`
	MasterKey string    `json:"master_key" doc:"What it is encrypted under."`
	Current   bool      `json:"current"`
	Resources int       `json:"resources" doc:"How many are encrypted under it."`
	MadeAt    time.Time `json:"made_at"`
}

func viewSecrets(s *vault.Status) secretsView {
	v := secretsView{Encrypted: s.Encrypted, MasterKey: s.Master, SelfMade: s.Own, DataKeys: []dataKeyView{}, Resources: s.Bodies, Plain: s.Plain, Rotating: s.Rotating,
		Error: s.Trouble}
	for _, k := range s.Keys {
		v.DataKeys = append(v.DataKeys, dataKeyView{Number: k.Number, MasterKey: k.Master, Current: k.Current, Resources: k.Bodies, MadeAt: k.MadeAt})
	}
	switch {
	case s.Encrypted && s.Bodies == 0:
		v.Progress = 1
	case s.Encrypted && len(s.Keys) > 0:
		v.Progress = float64(s.Keys[0].Bodies) / float64(s.Bodies)
	}
	return v
}

// secretRoutes are for the operator of the installation.
func (a *api) secretRoutes() {
	const tag = "Installation"
	answer := func(ctx context.Context) (*body[secretsView], error) {
		s, err := a.Secrets.Status(ctx)
		if err != nil {
			return nil, err
		}
		return &body[secretsView]{viewSecrets(&s)}, nil
	}
	register(a, operation{method: http.MethodGet, path: "/v1/admin/secrets", id: "get-secrets", tag: tag, permission: auth.TenantsManage,
		summary: "How secrets are kept at rest, and how far a rotation is"},
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[secretsView], error) {
			return answer(ctx)
		})
	register(a, operation{method: http.MethodPost, path: "/v1/admin/secrets/rotate", id: "rotate-secrets", tag: tag, permission: auth.TenantsManage, status: http.StatusAccepted,
		summary: "Encrypt secrets under a new key",
		description: "Makes a new data key, has all data keys encrypted under the current master key (the first one of the file that `--secrets-key` names, as it is now; one that the server " +
			"has made itself is made anew), and encrypts all secrets anew in the background. Nothing has to be stopped for it.",
		errors: []int{http.StatusConflict}},
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[secretsView], error) {
			if err := a.Audit.Note(ctx, store.Installation, audit.Event{Action: "secrets.rotate", Kind: store.KindDataKey, Slug: "next"}); err != nil {
				return nil, err
			}
			err := a.Secrets.Rotate(ctx)
			if errors.Is(err, vault.ErrNoKey) {
				return nil, web.NewProblem(http.StatusConflict, "The master key that is given now does not open what the one before has encrypted: give both, the new one first. Nothing was changed.")
			}
			if err != nil {
				return nil, err
			}
			return answer(ctx)
		})
}
