package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/pulsestream/pulsestream/internal/private"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	// BootstrapVariable gives the first key.
	BootstrapVariable = "PULSESTREAM_BOOTSTRAP_API_KEY"
	// BootstrapFile is where a first key that was not given is left, inside the data directory.
	BootstrapFile = "bootstrap-api-key"

	bootstrapName   = "bootstrap"
	bootstrapLength = 32 // of a given key, at least: the contract's
)

// bearerForm is what can be sent as a bearer token (RFC 6750, section 2.1).
var bearerForm = regexp.MustCompile(`^[A-Za-z0-9\-._~+/]+=*$`)

// Bootstrapper is what Bootstrap needs of the catalog.
type Bootstrapper interface {
	Put(ctx context.Context, p store.Put) (store.Resource, error)
	List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error)
	Delete(ctx context.Context, d store.Delete) error
}

// Bootstrap makes the tenant "default" and one administrator key in a catalog without tenants: the provided key, or a fresh
// one, which it also leaves in BootstrapFile of dir, readable by its owner only. It returns the key, for the caller to print if it
// was not provided. In any other catalog it makes nothing, and a provided key is ignored.
//
// The tenant is made last, and only if there still is none. So it can be stopped at any point and run again; and of several
// processes that run it at the same time on one catalog, one makes the tenant and the others undo what they did. With made, err is about keys of
// such attempts that could not be cleared away: the key is good all the same.
func Bootstrap(ctx context.Context, catalog Bootstrapper, provided, dir string, now time.Time) (key string, made bool, err error) {
	tenants, err := catalog.List(ctx, "", store.KindTenant)
	if err != nil {
		return "", false, fmt.Errorf("cannot tell whether the catalog is empty: %w", err)
	}
	if len(tenants) > 0 {
		return "", false, nil
	}
	first, err := firstKey(provided)
	if err != nil {
		return "", false, err
	}
	if first.fresh {
		// Before the catalog has it: a key that nobody was told would lock everybody out.
		if err := private.Write(filepath.Join(dir, BootstrapFile), []byte(first.full+"\n")); err != nil {
			return "", false, fmt.Errorf("cannot keep the first API key: %w", err)
		}
	}
	made, err = first.install(ctx, catalog, now)
	if made {
		return first.full, true, err
	}
	if first.fresh && err == nil {
		err = forget(dir, BootstrapFile, first.full)
	}
	return "", false, err
}

// bootstrapKey is the key to begin with. A fresh one is known to this process only.
type bootstrapKey struct {
	full, id string
	fresh    bool
}

func firstKey(provided string) (bootstrapKey, error) {
	switch {
	case provided == "":
		full, id := NewKey()
		return bootstrapKey{full, id, true}, nil
	case len(provided) < bootstrapLength:
		return bootstrapKey{}, fmt.Errorf("%s has %d characters: give it at least %d, e.g. the output of openssl rand -hex 32, or unset it to have a key made",
			BootstrapVariable, len(provided), bootstrapLength)
	case len(provided) > longestKey:
		return bootstrapKey{}, fmt.Errorf("%s has %d characters: give it at most %d", BootstrapVariable, len(provided), longestKey)
	case !bearerForm.MatchString(provided):
		return bootstrapKey{}, fmt.Errorf("%s cannot be sent as a bearer token: use only letters, digits and - . _ ~ + / with = at the end, no spaces and no line break",
			BootstrapVariable)
	}
	if id, ok := KeyID(provided); ok {
		return bootstrapKey{provided, id, false}, nil
	}
	// The same value has the same id in each process that is given it.
	return bootstrapKey{provided, bootstrapName + "-" + Lookup(provided)[:8], false}, nil
}

// install puts the key and then the tenant, and says whether it was this call that made the tenant.
func (k bootstrapKey) install(ctx context.Context, catalog Bootstrapper, now time.Time) (made bool, err error) {
	key := Key{Name: bootstrapName, Role: RoleAdmin, Operator: true, CreatedBy: bootstrapName, CreatedAt: now.UTC()}
	if err := put(ctx, catalog, store.Put{Kind: store.KindKey, Slug: k.id, Lookup: Lookup(k.full), At: now}, key); err != nil {
		return false, fmt.Errorf("cannot make the first API key: %w", err)
	}
	err = put(ctx, catalog, store.Put{Kind: store.KindTenant, Slug: string(tenant.Default), IfRevision: -1, At: now}, tenant.Tenant{
		ID: tenant.Default, Name: "Default", CreatedAt: now.UTC(), RetentionDays: int(tenant.DefaultRetention / (24 * time.Hour)),
	})
	switch {
	case err == nil:
		return true, k.deleteOthers(ctx, catalog)
	case !errors.Is(err, store.ErrConflict):
		return false, fmt.Errorf("cannot make the tenant %s: %w", tenant.Default, err)
	case !k.fresh:
		return false, nil // a provided key may be the winner's too
	}
	return false, deleteKey(ctx, catalog, k.id)
}

// deleteOthers deletes the keys of attempts that were stopped before they made the tenant.
func (k bootstrapKey) deleteOthers(ctx context.Context, catalog Bootstrapper) error {
	keys, err := catalog.List(ctx, tenant.Default, store.KindKey)
	if err != nil {
		return fmt.Errorf("cannot look for keys of earlier attempts: %w", err)
	}
	for _, r := range keys {
		var other Key
		if json.Unmarshal(r.Body, &other) == nil && other.CreatedBy == bootstrapName && r.Slug != k.id {
			if err := deleteKey(ctx, catalog, r.Slug); err != nil {
				return err
			}
		}
	}
	return nil
}

func deleteKey(ctx context.Context, catalog Bootstrapper, id string) error {
	err := catalog.Delete(ctx, store.Delete{Tenant: tenant.Default, Kind: store.KindKey, Slug: id})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("cannot delete API key %s, which another one has replaced: delete it by hand: %w", id, err)
	}
	return nil
}

func put(ctx context.Context, catalog Bootstrapper, p store.Put, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	p.Tenant, p.Body = tenant.Default, b
	_, err = catalog.Put(ctx, p)
	return err
}

// forget removes the file if it still holds this secret: where processes share a folder, it may hold the winner's by now.
func forget(dir, name, secret string) error {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && string(b) != secret+"\n") {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}
