package catalog

import (
	"context"
	"sync"

	"github.com/pulsestream/pulsestream/internal/store"
)

// memo remembers what was read, until anything in the catalog changes: every request for events asks for its tenant and every webhook
// for its source, and reading them from the store costs more than all else that such a request does. The zero value is
// ready.
type memo[K comparable, V any] struct {
	mu       sync.RWMutex
	revision int64 // at which all of known was read
	known    map[K]V
}

// maxKnown bounds a memo.
const maxKnown = 10_000

// get returns what is known of k, or what read says.
func (m *memo[K, V]) get(ctx context.Context, catalog store.Catalog, k K, read func() (V, error)) (V, error) {
	// The revision comes first: what is read after it is at least that new.
	revision, err := catalog.Revision(ctx)
	if err != nil {
		var none V
		return none, err
	}
	m.mu.RLock()
	v, ok := m.known[k]
	ok = ok && m.revision == revision
	m.mu.RUnlock()
	if ok {
		return v, nil
	}
	if v, err = read(); err == nil {
		m.put(k, v, revision)
	}
	return v, err
}

func (m *memo[K, V]) put(k K, v V, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision < m.revision {
		return // the catalog has changed since this was read
	}
	if revision > m.revision || m.known == nil || len(m.known) >= maxKnown {
		m.revision, m.known = revision, map[K]V{}
	}
	m.known[k] = v
}
