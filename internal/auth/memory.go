package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// cacheTTL bounds how long what was revoked can go on where the catalog's revision lags, as it may between processes: what is revoked is
	// refused within a second everywhere, whatever becomes of the word that goes round. It also bounds what the catalog does not know of, such as that
	// an issuer has withdrawn a key.
	cacheTTL = 900 * time.Millisecond
	// keyTTL is as long for API keys, which are asked for at every request that brings events. All that ends one is in the catalog, whose revision is asked each
	// time, and is never more than a quarter of a second behind the store; only where the store itself went back, as after a failover that lost something, it is
	// this that counts.
	keyTTL = 10 * time.Second
	// cacheSize bounds memory: about 300 bytes each.
	cacheSize = 10_000
)

// memory has who showed what in the last moments, until anything in the catalog changes. What is wrong is never remembered, so a flood of guesses
// pushes nothing out. The zero value is ready.
type memory struct {
	mu       sync.RWMutex
	revision int64 // at which all of known was read
	known    map[[sha256.Size]byte]knownPrincipal
}

type knownPrincipal struct {
	principal Principal
	until     time.Time
}

func (m *memory) remembered(sum [sha256.Size]byte, revision int64, now time.Time) (Principal, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.revision != revision {
		return Principal{}, false
	}
	e, ok := m.known[sum]
	return e.principal, ok && now.Before(e.until)
}

func (m *memory) remember(sum [sha256.Size]byte, e knownPrincipal, revision int64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision < m.revision {
		return // the catalog has changed since this was read
	}
	if revision > m.revision || m.known == nil {
		m.known, m.revision = map[[sha256.Size]byte]knownPrincipal{}, revision
	}
	if len(m.known) >= cacheSize {
		m.makeRoom(now)
	}
	m.known[sum] = e
}

// makeRoom drops what has expired, and a quarter of all if that is not enough: it costs one read each to have them back.
func (m *memory) makeRoom(now time.Time) {
	for sum, e := range m.known {
		if !now.Before(e.until) {
			delete(m.known, sum)
		}
	}
	if len(m.known) < cacheSize {
		return
	}
	for sum := range m.known {
		if len(m.known) <= cacheSize-cacheSize/4 {
			return
		}
		delete(m.known, sum)
	}
}
