package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// installation owns what is no tenant's. It can't be a tenant's id.
const installation tenant.ID = "*"

// wrapped is the body of a data key's resource.
type wrapped struct {
	Number int64 `json:"number"`
	// Master is the ID of the master key that Key is encrypted by; Own says that it is the one that a server makes for itself, which goes into backups.
	Master string    `json:"master"`
	Own    bool      `json:"own,omitempty"`
	Key    []byte    `json:"key"`
	MadeAt time.Time `json:"made_at"`
	// Clean says that what was plain text is gone from the catalog's files as well.
	Clean bool `json:"clean,omitempty"`
}

func (w *wrapped) slug() string    { return fmt.Sprintf("key-%06d", w.Number) }
func (w *wrapped) boundTo() string { return fmt.Sprintf("pulsestream data key %d", w.Number) }

// dataKey is a data key as it stands in the catalog, and what it opens.
type dataKey struct {
	wrapped
	revision int64
	aead     cipher.AEAD // nil when it cannot be unwrapped by this process
	why      error       // and why
}

// seal gives the lookup and the body that are stored for what a row says.
func (k *dataKey) seal(p place, c content) (lookup string, body json.RawMessage) {
	return hidden(p.kind, c.lookup), seal(k.aead, k.Number, p, c)
}

// keyring has the data keys of the catalog.
type keyring struct {
	catalog store.Catalog
	given   Masters
	own     bool // the masters are the server's own
	now     func() time.Time

	loading sync.Mutex // one asks the catalog, and the master keys, at a time
	mu      sync.Mutex
	masters []Master
	keys    map[int64]*dataKey
}

// ErrNoKey says that there are sealed bodies, and that the key that opens them is not at hand.
var ErrNoKey = errors.New("the master key that the catalog's secrets are encrypted under is not at hand")

// encrypts says whether there is a master key.
func (r *keyring) encrypts() bool { return len(r.masterKeys()) > 0 }

func (r *keyring) masterKeys() []Master {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.masters
}

// readMasters asks for the master keys.
func (r *keyring) readMasters(ctx context.Context) error {
	masters, err := r.given.Masters(ctx)
	if err == nil {
		r.setMasters(masters)
	}
	return err
}

func (r *keyring) setMasters(masters []Master) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.masters = masters
}

// load reads the data keys that the catalog has. What this process has unwrapped once it does not unwrap again. Nobody who opens a body waits for it.
func (r *keyring) load(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	rs, err := r.catalog.List(ctx, installation, KindDataKey)
	if err != nil {
		return fmt.Errorf("read the data keys: %w", err)
	}
	keys, asked := map[int64]*dataKey{}, false
	for i := range rs {
		k := &dataKey{revision: rs[i].Revision}
		if err := json.Unmarshal(rs[i].Body, &k.wrapped); err != nil {
			return fmt.Errorf("the stored data key %s cannot be read: %w", rs[i].Slug, err)
		}
		if known := r.known(k.Number); known != nil && known.aead != nil {
			k.aead = known.aead
		} else if k.aead, k.why = r.open(ctx, &k.wrapped); k.why != nil && !asked {
			asked = true // another master key may have been given since
			if r.readMasters(ctx) == nil {
				k.aead, k.why = r.open(ctx, &k.wrapped)
			}
		}
		keys[k.Number] = k
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
	return nil
}

func (r *keyring) open(ctx context.Context, w *wrapped) (cipher.AEAD, error) {
	key, err := unwrap(ctx, r.masterKeys(), w)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

// unwrap asks the master keys, one of which must have wrapped the data key.
func unwrap(ctx context.Context, masters []Master, w *wrapped) ([]byte, error) {
	err := ErrNoKey
	for _, m := range masters {
		if !m.Opens(w.Master) {
			continue
		}
		var key []byte
		if key, err = m.Unwrap(ctx, w.Key, w.boundTo()); err == nil {
			if len(key) == keySize {
				return key, nil
			}
			err = fmt.Errorf("it gave %d bytes, not %d", len(key), keySize)
		}
	}
	return nil, fmt.Errorf("data key %d is encrypted under the master key %s: %w", w.Number, w.Master, err)
}

// get gives a data key that is open.
func (r *keyring) get(ctx context.Context, number int64) (cipher.AEAD, error) {
	if k := r.known(number); k != nil && k.aead != nil {
		return k.aead, nil
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	k := r.known(number)
	if k == nil {
		return nil, fmt.Errorf("the catalog has no data key %d", number)
	}
	return k.aead, k.why
}

func (r *keyring) known(number int64) *dataKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[number]
}

// list gives the data keys, the newest first.
func (r *keyring) list() []*dataKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*dataKey, 0, len(r.keys))
	for _, k := range r.keys {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *dataKey) int { return int(b.Number - a.Number) })
	return out
}

// newest is the number of the newest data key as far as this process has looked; 1 when there is none yet.
func (r *keyring) newest() int64 {
	newest := int64(1)
	for _, k := range r.list() {
		newest = max(newest, k.Number)
	}
	return newest
}

// current gives the newest data key that this process can use, after a look at the catalog, and makes the first one.
func (r *keyring) current(ctx context.Context) (*dataKey, error) {
	for range 3 {
		if err := r.load(ctx); err != nil {
			return nil, err
		}
		keys := r.list()
		for _, k := range keys {
			if k.aead != nil {
				return k, nil // while another process has the next master key already, this one goes on with what it has
			}
		}
		if len(keys) > 0 {
			return nil, keys[0].why
		}
		if err := r.add(ctx, 1); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("a data key that was made is not in the catalog")
}

// add makes the data key of a number, unless another process has made it meanwhile.
func (r *keyring) add(ctx context.Context, number int64) error {
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	w := wrapped{Number: number, MadeAt: r.now().UTC()}
	if number == 1 {
		var err error
		if w.Clean, err = r.nothingYet(ctx); err != nil {
			return err
		}
	}
	if err := r.wrap(ctx, &w, key[:]); err != nil {
		return err
	}
	err := r.put(ctx, &w, -1)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// try makes sure that the master key can be used, before anything needs it.
func (r *keyring) try(ctx context.Context) error {
	w := wrapped{}
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	if err := r.wrap(ctx, &w, key[:]); err != nil {
		return err
	}
	if _, err := unwrap(ctx, r.masterKeys(), &w); err != nil {
		return fmt.Errorf("try the master key: %w", err)
	}
	return nil
}

// nothingYet says whether the catalog has no bodies yet that hold secrets.
func (r *keyring) nothingYet(ctx context.Context) (bool, error) {
	for _, kind := range sealedKinds() {
		rs, err := r.catalog.List(ctx, "", kind)
		if err != nil || len(rs) > 0 {
			return false, err
		}
	}
	return true, nil
}

// wrap encrypts a data key under the current master key.
func (r *keyring) wrap(ctx context.Context, w *wrapped, key []byte) (err error) {
	masters := r.masterKeys()
	if len(masters) == 0 {
		return ErrNoKey
	}
	w.Master, w.Own = masters[0].ID(), r.own
	if w.Key, err = masters[0].Wrap(ctx, key, w.boundTo()); err != nil {
		return fmt.Errorf("encrypt a data key under the master key %s: %w", w.Master, err)
	}
	return nil
}

func (r *keyring) put(ctx context.Context, w *wrapped, ifRevision int64) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = r.catalog.Put(ctx, store.Put{Tenant: installation, Kind: KindDataKey, Slug: w.slug(), Body: body, IfRevision: ifRevision, At: r.now().UTC()})
	return err
}

// rewraps is how often it is tried to have all data keys under one master key while somebody else changes them.
const rewraps = 4

// rewrap has all data keys wrapped by the current master key, and ends well only after the catalog was seen so: the master key before may be forgotten then.
func (r *keyring) rewrap(ctx context.Context) (changed int, err error) {
	for range rewraps {
		if err := r.load(ctx); err != nil {
			return changed, err
		}
		var n int
		n, err = r.rewrapOthers(ctx)
		if err == nil && n == 0 {
			return changed, nil
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return changed, err
		}
		changed += n
	}
	if err == nil {
		err = errors.New("the data keys are changed again and again: try again")
	}
	return changed, err
}

// rewrapOthers wraps the data keys that are not under the current master key as far as this process has looked. It is a conflict when one was changed meanwhile.
func (r *keyring) rewrapOthers(ctx context.Context) (changed int, err error) {
	masters := r.masterKeys()
	if len(masters) == 0 {
		return 0, ErrNoKey
	}
	var conflict error
	for _, k := range r.list() {
		w := k.wrapped
		if w.Master == masters[0].ID() && w.Own == r.own {
			continue
		}
		key, err := unwrap(ctx, masters, &w)
		if err != nil {
			return changed, err
		}
		if err := r.wrap(ctx, &w, key); err != nil {
			return changed, err
		}
		switch err := r.put(ctx, &w, k.revision); {
		case errors.Is(err, store.ErrConflict):
			conflict = fmt.Errorf("data key %d was changed meanwhile: try again: %w", w.Number, err)
		case err != nil:
			return changed, fmt.Errorf("store data key %d under the master key %s: %w", w.Number, w.Master, err)
		default:
			changed++
		}
	}
	return changed, conflict
}
