package bus

import (
	"github.com/nats-io/nats.go"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// AnnounceCatalog tells every process that the catalog of a tenant has changed. It is a hint: it may be lost.
func (b *Bus) AnnounceCatalog(t tenant.ID) {
	l, err := b.current()
	if err == nil {
		err = l.conn.Publish(catalogSubject, []byte(t))
	}
	if err != nil {
		b.cfg.Log.Warn("catalog change not announced; processes will notice it by themselves within seconds", "tenant.id", string(t), "error.message", err.Error())
	}
}

// OnCatalogChange calls f for each announced change, one after the other, until stop is called.
func (b *Bus) OnCatalogChange(f func(tenant.ID)) (stop func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler++
	key := b.handler
	b.handlers[key] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.handlers, key)
	}, nil
}

// heard passes an announcement on. Each JetStream that is started has one subscription, so announcements are heard whatever happens to the one before it.
func (b *Bus) heard(m *nats.Msg) {
	b.mu.Lock()
	handlers := make([]func(tenant.ID), 0, len(b.handlers))
	for _, f := range b.handlers {
		handlers = append(handlers, f)
	}
	b.mu.Unlock()
	for _, f := range handlers {
		f(tenant.ID(m.Data))
	}
}
