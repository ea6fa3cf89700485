package catalog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Definitions are what a tenant has configured, compiled.
type Definitions struct {
	Tenant  tenant.ID
	Metrics *metric.Set
	Rules   []alert.Bound
	Quotas  tenant.Quotas
}

// Registry compiles what tenants have configured, once for each change of that. Most of what moves the catalog's revision is about people and their sessions.
type Registry struct {
	catalog *Catalog
	log     *slog.Logger

	mu       sync.Mutex
	revision int64
	made     fingerprint // what the definitions were compiled from
	number   int64       // how often they were
	tenants  map[tenant.ID]Definitions
	order    []tenant.ID
	programs map[programKey]*metric.Program
}

// fingerprint tells whether anything is defined otherwise.
type fingerprint [sha256.Size]byte

type programKey struct {
	tenant   tenant.ID
	id       int64
	revision int64 // name and unit may change without a new generation
}

// NewRegistry makes an empty registry.
func NewRegistry(c *Catalog, log *slog.Logger) *Registry {
	return &Registry{catalog: c, log: log, revision: -1, programs: map[programKey]*metric.Program{}}
}

// Tenant returns the definitions of a tenant as they are now, or store.ErrNotFound.
func (r *Registry) Tenant(ctx context.Context, t tenant.ID) (Definitions, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return Definitions{}, err
	}
	d, ok := r.tenants[t]
	if !ok {
		return Definitions{}, fmt.Errorf("tenant %q: %w", t, store.ErrNotFound)
	}
	return d, nil
}

// All returns the definitions of all tenants, by tenant.
func (r *Registry) All(ctx context.Context) ([]Definitions, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	out := make([]Definitions, 0, len(r.order))
	for _, t := range r.order {
		out = append(out, r.tenants[t])
	}
	return out, nil
}

// Generation is another one when definitions have changed; those that are read after it are at least that new.
func (r *Registry) Generation(ctx context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load(ctx)
	return r.number, err
}

func (r *Registry) load(ctx context.Context) error {
	revision, err := r.catalog.Revision(ctx)
	if err != nil || revision == r.revision {
		return err
	}
	made, err := r.fingerprint(ctx)
	if err != nil {
		return err
	}
	if r.number > 0 && made == r.made {
		r.revision = revision
		return nil
	}
	tenants, err := r.catalog.Tenants(ctx)
	if err != nil {
		return err
	}
	programs := map[programKey]*metric.Program{}
	all := map[tenant.ID]Definitions{}
	var order []tenant.ID
	for _, t := range tenants {
		d, err := r.compile(ctx, t.ID, programs)
		if err != nil {
			return err
		}
		d.Quotas = t.Quotas
		all[t.ID] = d
		order = append(order, t.ID)
	}
	r.tenants, r.order, r.programs, r.revision, r.made = all, order, programs, revision, made
	r.number++
	return nil
}

// fingerprint reads all that definitions are compiled from.
func (r *Registry) fingerprint(ctx context.Context) (f fingerprint, err error) {
	hash := sha256.New()
	for _, kind := range definitionKinds() {
		rs, err := r.catalog.store.List(ctx, "", kind)
		if err != nil {
			return f, err
		}
		_, _ = fmt.Fprintf(hash, "%s %d\n", kind, len(rs)) // never fails
		for i := range rs {
			_, _ = fmt.Fprintf(hash, "%q %q %d %d\n", rs[i].Tenant, rs[i].Slug, rs[i].ID, rs[i].Revision)
		}
	}
	hash.Sum(f[:0])
	return f, nil
}

// definitionKinds are what definitions are compiled from.
func definitionKinds() []store.Kind {
	return []store.Kind{store.KindTenant, store.KindMetric, store.KindRule}
}

func (r *Registry) compile(ctx context.Context, t tenant.ID, kept map[programKey]*metric.Program) (Definitions, error) {
	metrics, err := r.catalog.Metrics(ctx, t)
	if err != nil {
		return Definitions{}, err
	}
	programs := make([]*metric.Program, 0, len(metrics))
	for _, m := range metrics {
		k := programKey{t, m.ID, m.Revision}
		p, ok := r.programs[k]
		if !ok {
			if p, err = metric.Compile(m.Value); err != nil {
				// It was compiled when it was saved, by another version. The others go on.
				r.log.Error("a metric cannot be computed by this version and stands still: change or delete it", "tenant.id", string(t),
					"pulsestream.metric", m.Slug, "error.message", err.Error())
				continue
			}
		}
		kept[k] = p
		programs = append(programs, p)
	}
	d := Definitions{Tenant: t, Metrics: metric.NewSet(programs)}
	rules, err := r.catalog.Rules(ctx, t)
	if err != nil {
		return d, err
	}
	for _, e := range rules {
		b := alert.Bound{Rule: e.Value} // a disabled rule too, and one without its metric: what fires must end
		if p, ok := d.Metrics.BySlug(e.Value.Metric); ok {
			b.MetricID, b.Dimensions, b.Unit = p.Definition().ID, p.Dimensions(), p.Definition().Unit
		}
		d.Rules = append(d.Rules, b)
	}
	return d, nil
}
