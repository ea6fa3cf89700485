package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/lease"
	"github.com/pulsestream/pulsestream/internal/live"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
	"github.com/pulsestream/pulsestream/internal/ui"
)

// member is a process of a fleet: what all of them have, to which each role adds its own.
type member struct {
	*App
	db       *postgres.DB
	log      *bus.Cluster
	things   *audit.Catalog
	events   store.Events
	registry *catalog.Registry
	seen     *telemetry
	deps     api.Deps
	page     http.Handler
	leave    func() // ends what HTTP has no end for
	keeper   *lease.Keeper
	secrets  config.Secrets
	follower *live.Follower
}

// fleet wires a process of a fleet, which keeps everything in PostgreSQL and NATS.
func (a *App) fleet(ctx context.Context, secrets config.Secrets) error {
	m := &member{App: a, secrets: secrets, page: http.NotFoundHandler(), leave: func() {}}
	if err := m.open(ctx); err != nil {
		return err
	}
	signing := auth.NewSigning(m.things, a.opts.Now)
	allow, err := a.cfg.Egress()
	if err != nil {
		return err
	}
	foreign := a.newForeign(m.things, allow)
	tokens := auth.NewTokens(m.things, signing, a.cfg.PublicURL, foreign)
	m.deps = api.Deps{
		Log: a.opts.Log, Now: a.opts.Now, Keys: a.keys(m.things, tokens), Keyring: auth.NewKeyring(m.things, a.opts.Now), Tokens: tokens, Signing: signing,
		Sessions: auth.NewSessions(m.things), People: a.newPeople(m.things), Issuers: foreign,
		RateLimit: a.cfg.RateLimit, Catalog: a.catalog, Audit: m.things, Registry: m.registry, Secrets: a.vault,
		Events: m.events, Vendors: source.NewCatalogue(), Metrics: m.seen.handler(), Ready: m.ready, Stalled: a.crew.stalled, Partitions: m.log.Partitions(),
		Rebuilding: func() *api.Rebuilding { return nil }, Losses: func() []api.Loss { return nil },
		PublicURL: a.cfg.PublicURL, Version: a.opts.Version, Fleet: m.state,
		Without: api.Without{Ingest: !a.cfg.Does(config.RoleIngest), API: !a.cfg.Does(config.RoleAPI)},
	}
	for _, role := range []struct {
		name string
		add  func(context.Context) error
	}{{config.RoleIngest, m.ingest}, {config.RoleWorker, m.worker}, {config.RoleAPI, m.api}} {
		if !a.cfg.Does(role.name) {
			continue
		}
		if err := role.add(ctx); err != nil {
			return err
		}
	}
	if err := a.bootstrap(ctx, m.things, secrets); err != nil {
		return err
	}
	return a.listen(ctx, api.Handler(m.deps, m.page), m.leave)
}

// open opens what every process has.
func (m *member) open(ctx context.Context) error {
	cfg, opts := m.cfg, m.opts
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	db, err := postgres.Open(ctx, postgres.Config{URL: cfg.Store, Log: opts.Log, Now: opts.Now})
	if err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	m.onStop("database", func(context.Context) error { return db.Close() })
	m.db, m.events = db, db.Events()
	if m.log, err = bus.OpenCluster(ctx, bus.ClusterConfig{Servers: cfg.Bus, Credentials: cfg.BusCreds, CA: cfg.BusCA, Certificate: cfg.BusCert, Key: cfg.BusKey,
		Partitions: cfg.NewPartitions(runtime.GOMAXPROCS(0)), Log: opts.Log, Committed: committed(m.events)}); err != nil {
		return err
	}
	m.onStop("log", func(context.Context) error { m.log.Close(); return nil })
	told := &toldCatalog{Catalog: db.Catalog(), wire: m.log, log: opts.Log}
	unsubscribe, err := told.listen(m.crew.refresh)
	if err != nil {
		return err
	}
	m.onStop("catalog changes", func(context.Context) error { unsubscribe(); return nil })
	sealed, err := m.openVault(ctx, told, m.secrets)
	if err != nil {
		return err
	}
	m.things = audit.Over(sealed, opts.Now)
	m.seen = newTelemetry(m.log.Partitions())
	m.catalog = catalog.New(m.things, told.announced, opts.Now)
	m.registry = catalog.NewRegistry(m.catalog, opts.Log)
	return nil
}

// ready says why this process cannot do its part, or nil.
func (m *member) ready() error { return m.log.Healthy() }

// ingest adds what takes events.
func (m *member) ingest(ctx context.Context) error {
	limits, err := m.openLimits(ctx)
	if err != nil {
		return err
	}
	stop, err := live.Positions(m.log, m.log.Partitions(), func(p int, seq uint64) { advance(&m.seen.marks[p], seq) })
	if err != nil {
		return err
	}
	m.onStop("positions", func(context.Context) error { stop(); return nil })
	l := newLoad(loadConfig{log: m.log, events: m.events, rebuild: never{}, marks: m.seen.marks, now: m.opts.Now, said: m.opts.Log, stalled: m.crew.stalled})
	if err := l.begin(ctx); err != nil {
		return err
	}
	m.whileRunning(l.watch)
	m.deps.Door, m.deps.Ready, m.deps.Limits = m.newDoor(m.log, l, limits, m.newQuotas(ctx, newLedger(m.events, m.things, m.registry)), m.seen), l.refuse, limitsAlone(limits)
	return nil
}

// advance moves a mark on, never back: an owner that has just begun does not say yet how far the store is, and one that was replaced says what was.
func advance(mark *atomic.Uint64, seq uint64) {
	for {
		old := mark.Load()
		if seq <= old || mark.CompareAndSwap(old, seq) {
			return
		}
	}
}

// never is a store that no other takes the place of.
type never struct{}

func (never) Rebuilding() *resilient.Rebuild { return nil }
func (never) Rebuilt()                       {}
func (never) Broken() bool                   { return false }

// worker adds what processes events, and tells people.
func (m *member) worker(context.Context) error {
	allow, err := m.cfg.Egress()
	if err != nil {
		return err
	}
	notifier := m.newNotifier(m.things, m.events, channels(allow), nil)
	m.seen.notifications(notifier.Stats)
	relay := live.NewRelay(live.RelayConfig{Log: m.opts.Log, Now: m.opts.Now, Wire: m.log, Span: liveSpan, Partitions: m.log.Partitions(), Wake: notifier.Wake})
	committing := &toldEvents{Events: m.events, changed: relay.Changed}
	m.keeper = lease.New(lease.Config{Name: workerName(), Partitions: m.log.Partitions(), Log: m.opts.Log, Now: m.opts.Now, Fit: m.db.Ping,
		Tell: func(beat []byte) error { return m.log.Tell(beatsSubject, beat) },
		Run: func(ctx context.Context, p int) {
			w := m.newWorker(p, m.log, committing, relay, m.registry, m.seen)
			m.crew.join(p, w)
			w.Run(ctx)
			m.crew.leave(p)
			relay.End(p)
		}})
	stop, err := m.log.Hear(beatsSubject, 1024, func(n bus.Note) { m.keeper.Hear(n.Data) })
	if err != nil {
		return err
	}
	m.onStop("beats", func(context.Context) error { stop(); return nil })
	m.whileRunning(relay.Run)
	m.whileRunning(m.keeper.Run)
	m.whileRunning(m.db.Events().Run)
	m.whileRunning(m.watchCatalog)
	m.runNotifier(notifier)
	// One process of all: that which has the first partition.
	return m.keepUsage(newLedger(m.events, m.things, m.registry), m.secrets, func() bool { return slices.Contains(m.keeper.Held(), 0) })
}

// api adds what answers questions.
func (m *member) api(context.Context) error {
	allow, err := m.cfg.Egress()
	if err != nil {
		return err
	}
	cached := query.NewCache(m.events, query.CacheConfig{Now: m.opts.Now})
	engine := &query.Engine{Events: cached}
	m.seen.questions(engine.Stats)
	incidents := &api.Incidents{Events: m.events, Catalog: m.catalog, Queue: m.things.Queue()}
	types := channels(allow)
	m.whileRunning(m.deps.Signing.Run)
	hub := m.newHub(m.events, engine, m.registry, incidents, m.log.Partitions(), func() {})
	m.follower = live.NewFollower(live.FollowConfig{Log: m.opts.Log, Now: m.opts.Now, Wire: m.log, Partitions: m.log.Partitions(), Hub: hub, Cache: cached})
	m.whileRunning(func(ctx context.Context) {
		if err := m.follower.Run(ctx); err != nil {
			m.fail(fmt.Errorf("follow the workers: %w", err))
		}
	})
	d := &m.deps
	d.OIDC, d.SAML = oidc.New(egress.New(allow), m.opts.Now), m.newSAML(allow)
	d.Tickets, d.Incidents, d.Query, d.Channels, d.Tester = auth.NewTickets(), incidents, engine, types, m.newNotifier(m.things, m.events, types, nil)
	d.Reports = m.newReports(m.events, engine, m.registry, m.log.Partitions(), func() bool { return false })
	d.Usage, d.Meter = newLedger(m.events, m.things, m.registry), m.newMeter(m.things)
	d.Live, d.IncidentChanged = hub.Serve, m.follower.IncidentChanged
	m.page, m.leave = ui.Handler(), hub.Close
	return nil
}

// state is how this process stands in its fleet.
func (m *member) state() api.Fleet {
	f := api.Fleet{Roles: m.cfg.Roles, Store: fmt.Sprintf("PostgreSQL %s, %s", m.db.Server(), m.db.Layout()), Log: api.LogState{Partitions: m.log.Partitions(), Synced: m.log.Synced().String()}}
	if m.keeper != nil {
		f.Holds = m.keeper.Held()
		for _, w := range m.keeper.Members() {
			f.Workers = append(f.Workers, api.WorkerState{Name: w.Name, Holds: w.Holds})
		}
	}
	if m.follower != nil {
		f.Follows = m.follower.Following()
	}
	return f
}
