package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// installation owns what is no tenant's. It can't be a tenant's id.
const installation tenant.ID = "*"

// Signing keeps the keys that access tokens are signed with (ES256). There is one for each period, named by its number, so that several processes make
// one and the same; the next one is published a day before it is used, and the last one for as long as tokens of it can be good.
type Signing struct {
	catalog SigningStore
	now     func() time.Time

	mu       sync.Mutex
	revision int64 // at which all of known was read
	known    map[int64]*signingKey
}

// SigningStore is what Signing needs of the catalog.
type SigningStore interface {
	Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error)
	Put(ctx context.Context, p store.Put) (store.Resource, error)
	Delete(ctx context.Context, d store.Delete) error
	Revision(ctx context.Context) (int64, error)
}

const (
	signingPeriod = 30 * 24 * time.Hour
	signingAhead  = 24 * time.Hour
)

// NewSigning keeps keys in a catalog.
func NewSigning(catalog SigningStore, now func() time.Time) *Signing {
	return &Signing{catalog: catalog, now: now}
}

// Run makes each key before its turn, though nobody may ask for a token for long, until ctx ends.
func (s *Signing) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		_, _, _ = s.keys(ctx) // who asks for a token is told of what fails
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// signingKey is a key of one period, and the body of its resource.
type signingKey struct {
	JWK jose.JSONWebKey `json:"jwk"`
}

func period(now time.Time) int64 { return now.Unix() / int64(signingPeriod/time.Second) }

// periods are those whose keys are published: the current one's is made if it is missing, and the next one's when its turn comes near.
func periods(now time.Time) (current int64, published []int64, create []int64) {
	current = period(now)
	create = []int64{current}
	if next := period(now.Add(signingAhead)); next != current {
		create = append(create, next)
	}
	return current, []int64{current - 1, current, current + 1}, create
}

// sign signs a payload with the current key.
func (s *Signing) sign(ctx context.Context, typ string, payload []byte) (string, error) {
	keys, current, err := s.keys(ctx)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: keys[current].JWK}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Published is the public keys, as a JWKS.
func (s *Signing) Published(ctx context.Context) ([]byte, error) {
	keys, _, err := s.keys(ctx)
	if err != nil {
		return nil, err
	}
	var set jose.JSONWebKeySet
	_, published, _ := periods(s.now())
	for _, n := range published {
		if k := keys[n]; k != nil {
			set.Keys = append(set.Keys, k.JWK.Public())
		}
	}
	return json.Marshal(set)
}

// set is the public keys for verifying.
func (s *Signing) set(ctx context.Context) (*KeySet, error) {
	b, err := s.Published(ctx)
	if err != nil {
		return nil, err
	}
	return ParseKeySet(b)
}

// keys are those of the published periods.
func (s *Signing) keys(ctx context.Context) (keys map[int64]*signingKey, current int64, err error) {
	now := s.now()
	current, published, create := periods(now)
	revision, err := s.catalog.Revision(ctx)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || s.revision != revision {
		s.known = map[int64]*signingKey{}
		for _, n := range published {
			k, err := s.load(ctx, n)
			if err != nil {
				return nil, 0, err
			}
			if k != nil {
				s.known[n] = k
			}
		}
		s.revision = revision
	}
	for _, n := range create {
		if s.known[n] == nil {
			k, err := s.create(ctx, n, now)
			if err != nil {
				return nil, 0, fmt.Errorf("make a key to sign access tokens with: %w", err)
			}
			s.known[n] = k
		}
	}
	keys = make(map[int64]*signingKey, len(s.known))
	for n, k := range s.known {
		keys[n] = k
	}
	return keys, current, nil
}

func slugOf(n int64) string { return "period-" + strconv.FormatInt(n, 10) }

func (s *Signing) load(ctx context.Context, n int64) (*signingKey, error) {
	r, err := s.catalog.Get(ctx, installation, store.KindSigningKey, slugOf(n))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	k := &signingKey{}
	if err := json.Unmarshal(r.Body, k); err != nil {
		return nil, fmt.Errorf("the stored key %s to sign access tokens with cannot be read: %w", r.Slug, err)
	}
	return k, nil
}

// create makes the key of a period, or takes the one that another process has made meanwhile, and removes one that nobody needs any more.
func (s *Signing) create(ctx context.Context, n int64, now time.Time) (*signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &signingKey{JWK: jose.JSONWebKey{Key: private, KeyID: slugOf(n) + "-" + random(5), Algorithm: string(jose.ES256), Use: "sig"}}
	body, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	_, err = s.catalog.Put(ctx, store.Put{Tenant: installation, Kind: store.KindSigningKey, Slug: slugOf(n), Body: body, IfRevision: -1, At: now.UTC()})
	if errors.Is(err, store.ErrConflict) {
		return s.load(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	if err := s.catalog.Delete(ctx, store.Delete{Tenant: installation, Kind: store.KindSigningKey, Slug: slugOf(n - 3)}); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return k, nil
}
