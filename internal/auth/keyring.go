package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Reasons why a key is not made or revoked.
var (
	// ErrNotCovered: who asks may do less than the key.
	ErrNotCovered = errors.New("a key can be made and revoked only by somebody who may do all that it may")
	// ErrOwnKey: a tenant must not be locked out by a slip.
	ErrOwnKey = errors.New("a key cannot revoke itself: use another one of the tenant's")
)

// Keyring makes, lists and revokes API keys.
type Keyring struct {
	catalog KeyStore
	now     func() time.Time
}

// KeyStore is what a Keyring needs of the catalog.
type KeyStore interface {
	Bootstrapper
	Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error)
}

// NewKeyring makes a keyring over a catalog.
func NewKeyring(catalog KeyStore, now func() time.Time) *Keyring {
	return &Keyring{catalog: catalog, now: now}
}

// StoredKey is a key as it is listed: its secret is not known any more.
type StoredKey struct {
	ID string
	Key
}

// Make makes a key of a tenant, with the name, role and operatorship that are asked for, and returns it with its secret, which is told this once.
// By is who asks. Nobody makes a mightier key for their own tenant than they have; who asks for a key of another tenant has to be an
// operator, and makes no operator there.
func (k *Keyring) Make(ctx context.Context, t tenant.ID, ask Key, by Principal) (key StoredKey, full string, err error) {
	own := by.Tenant == t
	switch {
	case own && by.Role.Covers(ask.Role) && (by.Operator || !ask.Operator):
	case !own && by.Can(TenantsManage) && ask.Role.Valid() && !ask.Operator:
	default:
		return key, "", ErrNotCovered
	}
	full, id := NewKey()
	key = StoredKey{ID: id, Key: Key{Name: ask.Name, Role: ask.Role, Operator: ask.Operator, CreatedBy: by.Subject, CreatedAt: k.now().UTC()}}
	if by.Tenant != t {
		key.CreatedBy = "operator"
	}
	body, err := json.Marshal(key.Key)
	if err != nil {
		return key, "", err
	}
	_, err = k.catalog.Put(ctx, store.Put{Tenant: t, Kind: store.KindKey, Slug: id, Lookup: Lookup(full), Body: body, IfRevision: -1, At: k.now()})
	return key, full, err
}

// List returns a tenant's keys, by id.
func (k *Keyring) List(ctx context.Context, t tenant.ID) ([]StoredKey, error) {
	rs, err := k.catalog.List(ctx, t, store.KindKey)
	if err != nil {
		return nil, err
	}
	out := make([]StoredKey, 0, len(rs))
	for i := range rs {
		key, err := storedKey(&rs[i])
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

// Get returns a key of a tenant or store.ErrNotFound.
func (k *Keyring) Get(ctx context.Context, t tenant.ID, id string) (StoredKey, error) {
	r, err := k.catalog.Get(ctx, t, store.KindKey, id)
	if err != nil {
		return StoredKey{}, err
	}
	return storedKey(&r)
}

// Holds says whether a principal is still what it was: false once its key is revoked. Where that cannot be told now, it holds.
func (k *Keyring) Holds(ctx context.Context, p Principal) bool {
	id, isKey := strings.CutPrefix(p.Subject, keySubject(""))
	if !isKey {
		return true
	}
	_, err := k.catalog.Get(ctx, p.Tenant, store.KindKey, id)
	return !errors.Is(err, store.ErrNotFound)
}

// Revoke makes a key of the caller's tenant worthless, from the moment that this returns.
func (k *Keyring) Revoke(ctx context.Context, by Principal, id string) error {
	key, err := k.Get(ctx, by.Tenant, id)
	if err != nil {
		return err
	}
	if by.Subject == keySubject(id) {
		return ErrOwnKey
	}
	if !by.Role.Covers(key.Role) || key.Operator && !by.Operator {
		return ErrNotCovered
	}
	return k.catalog.Delete(ctx, by.Tenant, store.KindKey, id, 0)
}

func storedKey(r *store.Resource) (StoredKey, error) {
	key := StoredKey{ID: r.Slug}
	if err := json.Unmarshal(r.Body, &key.Key); err != nil {
		return key, fmt.Errorf("the stored key %q of tenant %q cannot be read, make a new one: %w", r.Slug, r.Tenant, err)
	}
	return key, nil
}

// keySubject is the subject of the principal that a key stands for.
func keySubject(id string) string { return "key:" + id }
