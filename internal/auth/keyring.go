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
	// ErrKeyExpired: what has expired, or was replaced already, is not rotated.
	ErrKeyExpired = errors.New("the key has expired or was replaced already: rotate the one that replaced it, or make a new one")
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
	UsedAt time.Time // zero: never
}

// Make makes a key of a tenant, with the name, role, scopes, expiry and operatorship that are asked for, and returns it with its secret, which is
// told this once. By is who asks. Nobody makes a mightier key for their own tenant than they have; who asks for a key of another tenant has to be an
// operator, and makes no operator there.
func (k *Keyring) Make(ctx context.Context, t tenant.ID, ask Key, by Principal) (key StoredKey, full string, err error) {
	scope, err := NewScope(ask.Scopes)
	if err != nil {
		return key, "", err
	}
	own := by.Tenant == t
	switch {
	case own && (by.Role.Covers(ask.Role) || by.Operator && by.Can(TenantsManage)) && by.Covers(Principal{Role: ask.Role, Operator: ask.Operator, Scope: scope}) && (by.Operator || !ask.Operator):
	case !own && by.Can(TenantsManage) && ask.Role.Valid() && !ask.Operator:
	default:
		return key, "", ErrNotCovered
	}
	full, id := NewKey()
	key = StoredKey{ID: id, Key: ask}
	key.CreatedBy, key.CreatedAt = by.Subject, k.now().UTC()
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

// Holds says whether a principal is still what it was: false once its key is revoked, or the issuer of its token is
// another. Where that cannot be told now, it holds.
func (k *Keyring) Holds(ctx context.Context, p Principal) bool {
	if !p.Expires.IsZero() && !k.now().Before(p.Expires) {
		return false
	}
	if strings.HasPrefix(p.Subject, issuerPrefix) {
		return k.holdsIssuer(ctx, p)
	}
	id, isKey := strings.CutPrefix(p.Subject, keySubject(""))
	if !isKey {
		return true
	}
	key, err := k.Get(ctx, p.Tenant, id)
	return !errors.Is(err, store.ErrNotFound) && (err != nil || !key.Expired(k.now()))
}

// Rotate makes a key that may do what an old one may, and has the old one expire when the overlap is over.
func (k *Keyring) Rotate(ctx context.Context, by Principal, id string, overlap time.Duration) (key StoredKey, full string, err error) {
	r, err := k.catalog.Get(ctx, by.Tenant, store.KindKey, id)
	if err != nil {
		return key, "", err
	}
	old, err := storedKey(&r)
	if err != nil {
		return key, "", err
	}
	now := k.now().UTC()
	if old.Expired(now) || old.Replaced {
		return key, "", ErrKeyExpired
	}
	fresh := old.Key
	if fresh.ExpiresAt != nil { // as long a life as the old one had
		until := now.Add(fresh.ExpiresAt.Sub(fresh.CreatedAt))
		fresh.ExpiresAt = &until
	}
	if key, full, err = k.Make(ctx, by.Tenant, fresh, by); err != nil {
		return key, "", err
	}
	if until := now.Add(overlap); old.ExpiresAt == nil || until.Before(*old.ExpiresAt) {
		old.ExpiresAt = &until
	}
	old.Replaced = true
	body, err := json.Marshal(old.Key)
	if err != nil {
		return key, "", err
	}
	_, err = k.catalog.Put(ctx, store.Put{Tenant: by.Tenant, Kind: store.KindKey, Slug: id, Lookup: r.Lookup, Body: body, IfRevision: r.Revision, At: now})
	if err != nil { // nobody has been told of the new one
		err = errors.Join(err, k.catalog.Delete(ctx, store.Delete{Tenant: by.Tenant, Kind: store.KindKey, Slug: key.ID}))
	}
	return key, full, err
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
	p, err := key.principal(by.Tenant)
	if err != nil {
		return err
	}
	if !by.Covers(p) || key.Operator && !by.Operator {
		return ErrNotCovered
	}
	return k.catalog.Delete(ctx, store.Delete{Tenant: by.Tenant, Kind: store.KindKey, Slug: id})
}

func storedKey(r *store.Resource) (StoredKey, error) {
	key := StoredKey{ID: r.Slug, UsedAt: r.UsedAt}
	if err := json.Unmarshal(r.Body, &key.Key); err != nil {
		return key, fmt.Errorf("the stored key %q of tenant %q cannot be read, make a new one: %w", r.Slug, r.Tenant, err)
	}
	return key, nil
}

// principal is who a key speaks for.
func (k *StoredKey) principal(t tenant.ID) (Principal, error) {
	scope, err := NewScope(k.Scopes)
	if err != nil {
		return Principal{}, fmt.Errorf("the stored key %q of tenant %q: %w", k.ID, t, err)
	}
	return Principal{Tenant: t, Subject: keySubject(k.ID), Name: k.Name, Role: k.Role, Scope: scope, Operator: k.Operator, RateLimit: k.RateLimit}, nil
}

// keySubject is the subject of the principal that a key stands for.
func keySubject(id string) string { return "key:" + id }
