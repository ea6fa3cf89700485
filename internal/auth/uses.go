package auth

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	// usesEvery is how often uses are written: last use is exact to a minute.
	usesEvery = 30 * time.Second
	// usesSize bounds memory: about 200 bytes each. What is used beyond it is not noted until there is room.
	usesSize = 100_000
)

// Toucher is what Uses needs of the catalog.
type Toucher interface {
	Touch(ctx context.Context, uses []store.Use) error
}

// Uses gathers when keys, and whatever else is used at each request, were used last, and writes it now and then. It costs a request one
// atomic store, and most not even that.
type Uses struct {
	catalog Toucher
	log     *slog.Logger

	mu    sync.Mutex
	known map[store.Use]*Use // by a use without its time
}

// NewUses writes to a catalog.
func NewUses(catalog Toucher, log *slog.Logger) *Uses {
	return &Uses{catalog: catalog, log: log, known: map[store.Use]*Use{}}
}

// Use is when one thing was used last. The nil Use notes nothing.
type Use struct {
	at      atomic.Int64 // Unix seconds
	written int64        // of at
}

// At notes a use.
func (u *Use) At(now time.Time) {
	if u == nil {
		return
	}
	if s := now.Unix(); u.at.Load() < s { // of two that do it at once, either is right
		u.at.Store(s)
	}
}

// Of is the use of a resource, to be kept for moments and not for a minute: what was not used for that long is forgotten.
func (u *Uses) Of(t tenant.ID, k store.Kind, slug string) *Use {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	of := store.Use{Tenant: t, Kind: k, Slug: slug}
	use := u.known[of]
	if use == nil && len(u.known) < usesSize {
		use = &Use{}
		u.known[of] = use
	}
	return use
}

// ofKey is the use of the key that a principal stands for.
func (u *Uses) ofKey(p *Principal) *Use {
	id, ok := strings.CutPrefix(p.Subject, keySubject(""))
	if !ok {
		return nil
	}
	return u.Of(p.Tenant, store.KindKey, id)
}

// Run writes uses until ctx ends, and then once more.
func (u *Uses) Run(ctx context.Context) {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-ctx.Done():
			ended, now = true, time.Now()
		}
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := u.Flush(writing, now); err != nil {
			u.log.Warn("when keys were used last is not written; it is tried again", "error.message", err.Error())
		}
		cancel()
	}
}

// Flush writes what was used since the last time, and forgets what was not used for a while.
func (u *Uses) Flush(ctx context.Context, now time.Time) error {
	u.mu.Lock()
	var uses []store.Use
	var written []*Use
	for of, use := range u.known {
		switch at := use.at.Load(); {
		case at > use.written:
			of.At = time.Unix(at, 0)
			uses, written = append(uses, of), append(written, use)
		case at > 0 && now.Sub(time.Unix(at, 0)) > 2*usesEvery:
			delete(u.known, of)
		}
	}
	u.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	if err := u.catalog.Touch(ctx, uses); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, use := range written {
		use.written = uses[i].At.Unix()
	}
	return nil
}
