package signin

import (
	"sync"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// locks are one for each tenant: what takes long in one holds up no other. Only tenants that there are have one.
type locks struct{ of sync.Map } // tenant.ID to *sync.Mutex

// Lock waits for a tenant's.
func (l *locks) Lock(t tenant.ID) { l.mutex(t).Lock() }

// Unlock gives it back.
func (l *locks) Unlock(t tenant.ID) { l.mutex(t).Unlock() }

func (l *locks) mutex(t tenant.ID) *sync.Mutex {
	m, ok := l.of.Load(t)
	if !ok {
		m, _ = l.of.LoadOrStore(t, &sync.Mutex{})
	}
	return m.(*sync.Mutex) //nolint:forcetypeassert // nothing else is stored
}
