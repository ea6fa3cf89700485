package client

import (
	"context"
	"net/http"
	"time"
)

// Secrets is how an installation keeps its secrets at rest.
type Secrets struct {
	Encrypted bool      `json:"encrypted"`
	MasterKey string    `json:"master_key,omitempty"` // a name, which tells nothing of it
	SelfMade  bool      `json:"self_made,omitempty"`  // the server has made it itself
	DataKeys  []DataKey `json:"data_keys"`            // the newest first
	Resources int       `json:"resources"`            // that hold secrets
	Plain     int       `json:"plain"`                // of those that are still plain text
	Rotating  bool      `json:"rotating"`
	Progress  float64   `json:"progress"`        // of the rotation, from 0 to 1
	Error     string    `json:"error,omitempty"` // of the last attempt at it
}

// DataKey is a key that secrets are encrypted under.
type DataKey struct {
	Number    int64     `json:"number"`
	MasterKey string    `json:"master_key"`
	Current   bool      `json:"current"`
	Resources int       `json:"resources"`
	MadeAt    time.Time `json:"made_at"`
}

// Secrets tells the operator how secrets are kept, and how far a rotation is.
func (c *Client) Secrets(ctx context.Context) (s Secrets, err error) {
	err = c.Do(ctx, http.MethodGet, "/v1/admin/secrets", nil, nil, &s)
	return s, err
}

// RotateSecrets has all secrets encrypted under a new key, in the background.
func (c *Client) RotateSecrets(ctx context.Context) (s Secrets, err error) {
	err = c.Do(ctx, http.MethodPost, "/v1/admin/secrets/rotate", nil, nil, &s)
	return s, err
}
