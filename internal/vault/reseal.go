package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// lookEvery is how often bodies are looked for that are not under the newest data key: those that another process has left, or has written while a
// new data key was made.
const lookEvery = time.Hour

// Errors of a rotation.
var (
	// ErrPlain: there is nothing to rotate.
	ErrPlain = errors.New("secrets are kept as plain text: give all processes a key by PULSESTREAM_SECRETS_KEY, --secrets-key or --secrets-kms first")
	// ErrRotating: one after the other.
	ErrRotating = errors.New("a rotation is under way: wait for its end")
)

// forgetter is a catalog that can remove what was deleted or overwritten from its files.
type forgetter interface {
	Forget(ctx context.Context) error
}

// look has Run look for bodies that are to be sealed anew.
func (v *Catalog) look() {
	select {
	case v.work <- struct{}{}:
	default: // it will
	}
}

// Run seals what is plain text or under an older data key, at the beginning, when there is a new data key, and now and then, until ctx ends. What it does not
// come to is done by another process, or after the next start.
func (v *Catalog) Run(ctx context.Context) {
	if !v.keys.encrypts() {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(v.patience):
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-v.work:
		}
		v.pass(ctx)
	}
}

// pass is one look at all bodies.
func (v *Catalog) pass(ctx context.Context) {
	v.turn.Lock()
	defer v.turn.Unlock()
	began := time.Now()
	n, err := v.reseal(ctx)
	if err == nil {
		err = v.forget(ctx)
	}
	if ctx.Err() != nil {
		err = nil // it is gone on with after the next start
	}
	v.ended(err)
	if err != nil {
		v.log.ErrorContext(ctx, "secrets in the catalog could not be encrypted anew; it is tried again within the hour", "error.message", err.Error())
	}
	if n > 0 {
		v.log.InfoContext(ctx, "secrets in the catalog were encrypted under the newest data key", "pulsestream.resources", n, "event.duration", time.Since(began).Nanoseconds())
	}
}

// ended notes how it ended.
func (v *Catalog) ended(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.trouble = ""
	if err != nil {
		v.trouble = err.Error()
	}
}

// reseal seals every body that is not under the newest data key. One that somebody changes meanwhile was sealed by that.
func (v *Catalog) reseal(ctx context.Context) (n int, err error) {
	if err := v.keys.load(ctx); err != nil {
		return 0, err
	}
	for _, kind := range sealedKinds() {
		rs, err := v.Catalog.List(ctx, "", kind)
		if err != nil {
			return n, err
		}
		for i := range rs {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			changed, err := v.resealOne(ctx, &rs[i])
			if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
				return n, err
			}
			if changed && err == nil {
				n++
			}
		}
	}
	return n, nil
}

func (v *Catalog) resealOne(ctx context.Context, r *store.Resource) (changed bool, err error) {
	number, c := int64(0), content{lookup: r.Lookup, body: r.Body}
	if isSealed(r.Body) {
		if number, _, err = numberOf(r.Body); err == nil && number >= v.keys.newest() {
			return false, nil
		}
		if c, err = v.open(ctx, r); err != nil {
			return false, err
		}
	}
	k, err := v.keys.current(ctx)
	if err != nil || k.Number <= number || k.Number < v.keys.newest() {
		return false, err // one that lacks the newest key would undo what those do that have it
	}
	lookup, body := k.seal(place{r.Tenant, r.Kind, r.Slug}, c)
	return true, v.Catalog.Rewrite(ctx, store.Rewrite{Tenant: r.Tenant, Kind: r.Kind, Slug: r.Slug, IfRevision: r.Revision, Lookup: lookup, Body: body})
}

// forget removes, once in the life of a catalog, what was plain text from its files.
func (v *Catalog) forget(ctx context.Context) error {
	if err := v.keys.load(ctx); err != nil {
		return err
	}
	keys := v.keys.list()
	if len(keys) == 0 || keys[len(keys)-1].Clean {
		return nil
	}
	first := keys[len(keys)-1]
	if f, ok := v.Catalog.(forgetter); ok {
		if err := f.Forget(ctx); err != nil {
			return fmt.Errorf("remove what was plain text from the catalog's files: %w", err)
		}
	}
	w := first.wrapped
	w.Clean = true
	if err := v.keys.put(ctx, &w, first.revision); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}

// Rotate makes a new data key, and a new master key if the server makes that itself, else takes the current one of those that are given now. Bodies are
// sealed anew in the background; Status says how far that is.
func (v *Catalog) Rotate(ctx context.Context) error {
	if !v.keys.encrypts() {
		return ErrPlain
	}
	if !v.turn.TryLock() {
		return ErrRotating
	}
	defer v.turn.Unlock()
	err := v.rotate(ctx)
	v.ended(nil)
	if err != nil {
		return err
	}
	v.look()
	return nil
}

func (v *Catalog) rotate(ctx context.Context) error {
	if own, ok := v.keys.given.(renewer); ok {
		if err := own.Renew(); err != nil {
			return fmt.Errorf("make a new master key: %w", err)
		}
	}
	before := v.keys.masterKeys()
	if err := v.keys.readMasters(ctx); err != nil {
		return err
	}
	if err := v.settle(ctx); err != nil {
		v.keys.setMasters(before) // those that are given now do not open what there is
		return err
	}
	k, err := v.keys.current(ctx)
	if err != nil {
		return err
	}
	return v.keys.add(ctx, max(k.Number, v.keys.newest())+1)
}
