package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// longestKey is that of a first key that is given.
const longestKey = 4096

// KeyFinder is what Keys needs of the catalog.
type KeyFinder interface {
	// Find returns the resource with this lookup, or store.ErrNotFound.
	Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error)
	// Revision moves on with each change. It is asked at each request, so it must come from memory.
	Revision(ctx context.Context) (int64, error)
}

// Keys authenticates API keys, and the access tokens that were given for them. What was shown in the last seconds is answered from memory, until
// anything in the catalog changes: a revoked key is refused from the moment that its deletion has returned. What is wrong is never
// remembered, so a flood of guesses pushes nothing out.
type Keys struct {
	catalog KeyFinder
	tokens  TokenReader // nil takes none
	uses    *Uses       // nil notes none
	memory
}

// TokenReader reads access tokens.
type TokenReader interface {
	// Read returns who a token speaks for and until when, or ErrBadCredentials.
	Read(ctx context.Context, token string, now time.Time) (Principal, time.Time, error)
}

// Noting has it note when keys were used last, themselves or by a token.
func (k *Keys) Noting(uses *Uses) *Keys {
	k.uses = uses
	return k
}

// NewKeys authenticates against a catalog. Tokens may be nil.
func NewKeys(catalog KeyFinder, tokens TokenReader) *Keys {
	return &Keys{catalog: catalog, tokens: tokens}
}

// Authenticate returns who holds the bearer token (what follows "Bearer " in the header): ErrNoCredentials when it is empty,
// ErrBadCredentials when it is nobody's, another error when the catalog could not say.
func (k *Keys) Authenticate(ctx context.Context, bearer string, now time.Time) (Principal, error) {
	if bearer == "" {
		return Principal{}, ErrNoCredentials
	}
	if len(bearer) > maxTokenBytes || mistyped(bearer) {
		return Principal{}, ErrBadCredentials
	}
	var few [128]byte // most keys fit
	sum := sha256.Sum256(append(few[:0], bearer...))
	// The revision comes first: what is read after it is at least that new.
	revision, err := k.catalog.Revision(ctx)
	if err != nil {
		return Principal{}, fmt.Errorf("cannot authenticate: %w", err)
	}
	if p, ok := k.remembered(sum, revision, now); ok {
		p.use.At(now)
		return p, nil
	}
	known := knownPrincipal{until: now.Add(keyTTL)}
	var expires time.Time
	if k.tokens != nil && isToken(bearer) {
		known.principal, expires, err = k.tokens.Read(ctx, bearer, now)
		known.principal.Method = MethodToken
		known.until = now.Add(cacheTTL)
	} else {
		known.principal, expires, err = k.find(ctx, hex.EncodeToString(sum[:]), now)
	}
	if err != nil {
		return Principal{}, err
	}
	known.principal.Expires, known.principal.use = expires, k.uses.ofKey(&known.principal)
	known.principal.use.At(now)
	if !expires.IsZero() && expires.Before(known.until) {
		known.until = expires
	}
	k.remember(sum, known, revision, now)
	return known.principal, nil
}

func (k *Keys) find(ctx context.Context, lookup string, now time.Time) (p Principal, expires time.Time, err error) {
	r, err := k.catalog.Find(ctx, store.KindKey, lookup)
	if errors.Is(err, store.ErrNotFound) {
		return p, expires, ErrBadCredentials
	}
	if err != nil {
		return p, expires, fmt.Errorf("cannot authenticate: %w", err)
	}
	p, expires, err = principalOf(&r, now)
	p.Method = MethodKey
	return p, expires, err
}
