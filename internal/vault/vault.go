package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Config says what a Catalog wraps, and where its master keys come from.
type Config struct {
	Catalog store.Catalog
	// Masters gives the master keys. When it gives none, bodies stay plain text.
	Masters Masters
	Log     *slog.Logger
	Now     func() time.Time
	// Patience is how long Run waits before it encrypts what was plain text: in a fleet that is being upgraded there are processes that could not read it.
	Patience time.Duration
}

// Catalog is a store.Catalog whose bodies that hold secrets are encrypted. What else it does is the wrapped one's affair.
type Catalog struct {
	store.Catalog
	keys     *keyring
	secret   func(store.Kind) bool // holdsSecrets
	log      *slog.Logger
	patience time.Duration

	work chan struct{} // asks Run to look for bodies that are to be sealed anew

	turn sync.Mutex // of a look or of a rotation: one that writes data keys while the other forgets a master key would lose what they open

	mu      sync.Mutex
	trouble string // why the last look did not come to its end
}

// renewer is Masters that make their own key.
type renewer interface {
	Masters
	// Renew makes a new one, the first one perhaps. The one before still opens.
	Renew() error
	// Settle forgets all but the current one.
	Settle() error
}

// Open makes a Catalog, and makes sure that everything that is encrypted in it can be opened: if not, it changes nothing, and its error says what is
// missing. Data keys that an older master key has wrapped are wrapped by the current one.
func Open(ctx context.Context, c Config) (*Catalog, error) {
	own, isOwn := c.Masters.(renewer)
	v := &Catalog{Catalog: c.Catalog, secret: holdsSecrets, log: c.Log, patience: c.Patience, work: make(chan struct{}, 1),
		keys: &keyring{catalog: c.Catalog, given: c.Masters, own: isOwn, now: c.Now}}
	if err := v.keys.readMasters(ctx); err != nil {
		return nil, err
	}
	if err := v.keys.load(ctx); err != nil {
		return nil, err
	}
	for _, k := range v.keys.list() {
		if k.aead == nil {
			return nil, fmt.Errorf("the secrets in the catalog cannot be decrypted, nothing was changed: %w", k.why)
		}
	}
	if !v.keys.encrypts() {
		if !isOwn {
			return v, nil
		}
		if err := own.Renew(); err != nil {
			return nil, fmt.Errorf("make the master key: %w", err)
		}
		if err := v.keys.readMasters(ctx); err != nil {
			return nil, err
		}
	}
	if len(v.keys.list()) == 0 {
		if err := v.keys.try(ctx); err != nil {
			return nil, err
		}
	}
	if err := v.settle(ctx); err != nil {
		return nil, err
	}
	v.look()
	return v, nil
}

// settle has all data keys wrapped by the current master key, and forgets those before if they are the server's own.
func (v *Catalog) settle(ctx context.Context) error {
	n, err := v.keys.rewrap(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		v.log.InfoContext(ctx, "the data keys of the catalog's secrets are encrypted under another master key now", "pulsestream.keys", n)
	}
	if own, ok := v.keys.given.(renewer); ok {
		if err := own.Settle(); err != nil {
			return fmt.Errorf("forget the master key before: %w", err)
		}
		return v.keys.readMasters(ctx)
	}
	return nil
}

// Put seals the body and hides the lookup of a resource that holds secrets.
func (v *Catalog) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	if !v.secret(p.Kind) || !v.keys.encrypts() {
		return v.Catalog.Put(ctx, p)
	}
	k, err := v.keys.current(ctx)
	if err != nil {
		return store.Resource{}, fmt.Errorf("put %s %q: %w", p.Kind, p.Slug, err)
	}
	given := content{lookup: p.Lookup, body: p.Body}
	p.Lookup, p.Body = k.seal(place{p.Tenant, p.Kind, p.Slug}, given)
	r, err := v.Catalog.Put(ctx, p)
	if err != nil {
		return store.Resource{}, err
	}
	r.Lookup, r.Body = given.lookup, given.body
	return r, nil
}

// Rewrite seals the body and hides the lookup of a resource that holds secrets.
func (v *Catalog) Rewrite(ctx context.Context, r store.Rewrite) error {
	if !v.secret(r.Kind) || !v.keys.encrypts() {
		return v.Catalog.Rewrite(ctx, r)
	}
	k, err := v.keys.current(ctx)
	if err != nil {
		return fmt.Errorf("rewrite %s %q: %w", r.Kind, r.Slug, err)
	}
	r.Lookup, r.Body = k.seal(place{r.Tenant, r.Kind, r.Slug}, content{lookup: r.Lookup, body: r.Body})
	return v.Catalog.Rewrite(ctx, r)
}

// Get opens what it has got.
func (v *Catalog) Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error) {
	r, err := v.Catalog.Get(ctx, t, k, slug)
	if err != nil {
		return store.Resource{}, err
	}
	return v.opened(ctx, r)
}

// Find opens what it has found. A resource from before is found by its lookup as it is, and only then: what is stored is no lookup.
func (v *Catalog) Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error) {
	if !v.secret(k) {
		return v.Catalog.Find(ctx, k, lookup)
	}
	r, err := v.Catalog.Find(ctx, k, hidden(k, lookup))
	if errors.Is(err, store.ErrNotFound) {
		if r, err = v.Catalog.Find(ctx, k, lookup); err == nil && isSealed(r.Body) {
			err = fmt.Errorf("find %s: %w", k, store.ErrNotFound)
		}
	}
	if err != nil {
		return store.Resource{}, err
	}
	if r, err = v.opened(ctx, r); err == nil && r.Lookup != lookup {
		err = fmt.Errorf("find %s: %w", k, store.ErrNotFound) // the stored lookup was changed
	}
	if err != nil {
		return store.Resource{}, err
	}
	return r, nil
}

// List opens all of a kind.
func (v *Catalog) List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error) {
	rs, err := v.Catalog.List(ctx, t, k)
	if err != nil || !v.secret(k) {
		return rs, err
	}
	for i := range rs {
		if rs[i], err = v.opened(ctx, rs[i]); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// opened gives a resource as it was put.
func (v *Catalog) opened(ctx context.Context, r store.Resource) (store.Resource, error) {
	if !v.secret(r.Kind) || !isSealed(r.Body) {
		return r, nil
	}
	c, err := v.open(ctx, &r)
	if err != nil {
		return store.Resource{}, err
	}
	r.Lookup, r.Body = c.lookup, c.body
	return r, nil
}

func (v *Catalog) open(ctx context.Context, r *store.Resource) (c content, err error) {
	number, box, err := numberOf(r.Body)
	if err == nil {
		k, kerr := v.keys.get(ctx, number)
		if err = kerr; err == nil {
			c, err = open(k, number, place{r.Tenant, r.Kind, r.Slug}, box)
		}
	}
	if err != nil {
		return c, fmt.Errorf("the %s %q of tenant %s cannot be decrypted: %w", r.Kind, r.Slug, r.Tenant, err)
	}
	return c, nil
}
