package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// How long the keys of an issuer are good, and how often they are asked for.
const (
	// keysFresh is how long they are used without a thought: a key that its issuer has withdrawn is refused after this time at the latest.
	keysFresh = 5 * time.Minute
	// keysStale is how long they are used while the issuer is away.
	keysStale = time.Hour
	// keysPause is between two fetches at least, whatever tokens name: a flood of unknown keys is no flood of fetches.
	keysPause = 10 * time.Second
	// keysWait bounds a fetch, and how long a request waits for one.
	keysWait = 5 * time.Second
	// maxIssuers bounds memory.
	maxIssuers = 1000
)

// issuerKeys keeps the keys of issuers. At most one fetch is under way for each, and who has what they need does not wait for it.
type issuerKeys struct {
	load Fetch
	now  func() time.Time
	log  *slog.Logger

	mu    sync.Mutex
	known map[issuerID]*knownIssuer
}

type issuerID struct {
	tenant tenant.ID
	slug   string
}

type knownIssuer struct {
	revision int64 // of the entry that the keys were fetched for
	set      *KeySet
	at       time.Time     // of the fetch that brought set
	tried    time.Time     // of the last fetch, whatever came of it
	running  chan struct{} // closed when the fetch under way is over; nil when there is none
	away     bool          // the last one has failed, and that was logged
}

func newIssuerKeys(fetch Fetch, now func() time.Time, log *slog.Logger) *issuerKeys {
	return &issuerKeys{load: fetch, now: now, log: log, known: map[issuerID]*knownIssuer{}}
}

// get is the keys to verify a token with that names one of them.
func (k *issuerKeys) get(ctx context.Context, r *store.Resource, i *TokenIssuer, kid string) (*KeySet, error) {
	k.mu.Lock()
	e := k.entry(r)
	now := k.now()
	if e.running == nil && e.due(now, kid) {
		k.begin(ctx, e, i, r)
	}
	set, running := e.usable(now), e.running
	k.mu.Unlock()
	if running == nil || set != nil && set.has(kid) {
		return orAway(set)
	}
	select {
	case <-running:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return orAway(e.usable(k.now()))
}

func orAway(set *KeySet) (*KeySet, error) {
	if set == nil {
		return nil, ErrIssuerAway
	}
	return set, nil
}

// entry is what is known for a stored issuer; one that was changed is not known yet.
func (k *issuerKeys) entry(r *store.Resource) *knownIssuer {
	id := issuerID{r.Tenant, r.Slug}
	e := k.known[id]
	if e == nil || e.revision != r.Revision {
		e = &knownIssuer{revision: r.Revision}
		if len(k.known) >= maxIssuers {
			for other := range k.known { // any: it costs one fetch to have it back
				delete(k.known, other)
				break
			}
		}
		k.known[id] = e
	}
	return e
}

// due says whether keys are to be fetched for a token that names one.
func (e *knownIssuer) due(now time.Time, kid string) bool {
	if !e.tried.IsZero() && now.Sub(e.tried) < keysPause {
		return false
	}
	return e.set == nil || now.Sub(e.at) >= keysFresh || !e.set.has(kid)
}

// usable is the keys, unless they are too old.
func (e *knownIssuer) usable(now time.Time) *KeySet {
	if e.set == nil || now.Sub(e.at) >= keysStale {
		return nil
	}
	return e.set
}

// begin fetches keys for all who wait; it goes on when the one who has begun it has gone.
func (k *issuerKeys) begin(ctx context.Context, e *knownIssuer, i *TokenIssuer, r *store.Resource) {
	done := make(chan struct{})
	e.running, e.tried = done, k.now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWait)
	go func() {
		defer cancel()
		set, err := k.fetch(ctx, i)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err == nil {
			e.set, e.at = set, k.now()
		}
		if away := err != nil; away != e.away {
			e.away = away
			if away {
				k.log.Warn("the keys of a tenant's issuer of tokens cannot be fetched: the ones that are known are used for an hour", "tenant.id", string(r.Tenant),
					"pulsestream.issuer", r.Slug, "error.message", err.Error())
			} else {
				k.log.Info("the keys of a tenant's issuer of tokens can be fetched again", "tenant.id", string(r.Tenant), "pulsestream.issuer", r.Slug)
			}
		}
		e.running = nil
		close(done)
	}()
}

// fetch gets an issuer's keys, for the algorithms that are taken of it.
func (k *issuerKeys) fetch(ctx context.Context, i *TokenIssuer) (*KeySet, error) {
	address := i.JWKSURL
	if address == "" {
		var err error
		if address, err = k.discover(ctx, i.Issuer); err != nil {
			return nil, err
		}
	}
	b, err := k.load(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys from %s: %w", address, err)
	}
	set, err := parseKeySet(b, i.Algorithms)
	if err != nil {
		return nil, fmt.Errorf("the keys from %s: %w", address, err)
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("the keys from %s: none is for signatures with %v", address, i.Algorithms)
	}
	return set, nil
}

// discover asks an issuer where its keys are: as OpenID Connect has it, or RFC 8414.
func (k *issuerKeys) discover(ctx context.Context, issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", err
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	var errs []error
	for _, address := range []string{base + path + "/.well-known/openid-configuration", base + "/.well-known/oauth-authorization-server" + path} {
		b, err := k.load(ctx, address)
		var about struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		switch {
		case err != nil:
		case json.Unmarshal(b, &about) != nil:
			err = errors.New("the answer is no JSON object")
		case about.Issuer != issuer:
			err = fmt.Errorf("it speaks of the issuer %q", about.Issuer)
		default:
			if err = CheckAddress(about.Keys); err == nil {
				return about.Keys, nil
			}
			err = fmt.Errorf("its jwks_uri: %w", err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	return "", errors.Join(errs...)
}

// has says whether a token that names a key can be verified with the set.
func (s *KeySet) has(kid string) bool {
	_, ok := s.key(kid)
	return ok
}
