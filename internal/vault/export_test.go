package vault

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/store"
)

// SealAll has bodies of all kinds sealed.
func (v *Catalog) SealAll() {
	v.secret = func(k store.Kind) bool { return k != KindDataKey }
}

// Pass is one look of Run.
func (v *Catalog) Pass(ctx context.Context) { v.pass(ctx) }

// HoldsSecrets says so of a kind, if it has a row.
func HoldsSecrets(k store.Kind) (secret, known bool) {
	secret, known = sealed[k]
	return secret, known
}

// SealedKinds are those whose bodies are sealed.
func SealedKinds() []store.Kind { return sealedKinds() }
