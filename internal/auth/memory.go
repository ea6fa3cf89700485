package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// cacheTTL bounds how long what was shown is remembered while the catalog does not change. It is not what makes a revoked key end: the revision
	// is, which is never behind in this process and at most a quarter of a second behind what others have changed.
	cacheTTL = 10 * time.Second
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

// makeRoom drops what has expired, and anything at all if nothing has: it costs one read to have it back.
func (m *memory) makeRoom(now time.Time) {
	for sum, e := range m.known {
		if !now.Before(e.until) {
			delete(m.known, sum)
		}
	}
	for sum := range m.known {
		if len(m.known) < cacheSize {
			return
		}
		delete(m.known, sum)
	}
}
