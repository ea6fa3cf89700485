package app

import (
	"cmp"
	"context"
	"fmt"
	"runtime"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/ui"
)

// alone wires a whole server, which keeps everything in files of its own.
func (a *App) alone(ctx context.Context, secrets config.Secrets) error {
	if err := a.lockData(); err != nil {
		return err
	}
	cfg, opts := a.cfg, a.opts
	allow, err := cfg.Egress()
	if err != nil {
		return err
	}
	limits, err := a.openLimits(ctx)
	if err != nil {
		return err
	}
	files, err := sqlite.Open(ctx, sqlite.Config{Path: cfg.CatalogPath(), Log: opts.Log})
	if err != nil {
		return fmt.Errorf("open the catalog: %w", err)
	}
	a.onStop("catalog", func(context.Context) error { return files.Close() })
	sealed, err := a.openVault(ctx, files, secrets)
	if err != nil {
		return err
	}
	things := audit.Over(sealed, opts.Now)
	if err := a.bootstrap(ctx, things, secrets); err != nil {
		return err
	}
	partitions := cmp.Or(bus.Partitions(cfg.LogDir()), cfg.NewPartitions(runtime.GOMAXPROCS(0)))
	events, err := a.openEvents(ctx, things, partitions)
	if err != nil {
		return fmt.Errorf("open the store of events: %w", err)
	}
	a.onStop("events", func(context.Context) error { return events.Close() })
	log, err := bus.Open(ctx, bus.Config{Dir: cfg.LogDir(), Partitions: partitions, Log: opts.Log, Committed: committed(events)})
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	a.onStop("log", func(context.Context) error { log.Close(); return nil })

	seen := newTelemetry(log.Partitions())
	a.catalog = catalog.New(things, log.AnnounceCatalog, opts.Now)
	registry := catalog.NewRegistry(a.catalog, opts.Log)
	cached := query.NewCache(events, query.CacheConfig{Now: opts.Now})
	a.cache.Store(cached)
	engine := &query.Engine{Events: cached, Columns: events}
	seen.questions(engine.Stats)
	incidents := &api.Incidents{Events: events, Catalog: a.catalog, Queue: things.Queue()}
	types := channels(allow)
	notifier := a.newNotifier(things, events, types, keep(things))
	seen.notifications(notifier.Stats)
	hub := a.newHub(events, engine, registry, incidents, log.Partitions(), notifier.Wake)
	for p := range log.Partitions() {
		w := a.newWorker(p, log, cached, hub, registry, seen)
		a.crew.join(p, w)
		a.whileRunning(w.Run)
	}
	unsubscribe, err := log.OnCatalogChange(func(tenant.ID) { a.crew.refresh() })
	if err != nil {
		return err
	}
	a.onStop("catalog changes", func(context.Context) error { unsubscribe(); return nil })
	l := newLoad(loadConfig{log: log, events: events, rebuild: events, marks: seen.marks, dir: cfg.LogDir(), now: opts.Now, said: opts.Log, stalled: a.crew.stalled})
	if err := l.begin(ctx); err != nil {
		return err
	}
	seen.losses(l.losses, func() int { return len(log.Repairs()) })
	ledger := newLedger(events, things, registry)
	door := a.newDoor(log, l, limits, a.newQuotas(ctx, ledger), seen)
	if err := a.keepUsage(ledger, secrets, nil); err != nil {
		return err
	}
	reports := a.newReports(events, engine, registry, log.Partitions(), func() bool { return events.Rebuilding() != nil })
	a.whileRunning(events.Scrub)
	a.whileRunning(a.watchCatalog)
	a.whileRunning(l.watch)
	a.beforeQuiet("workers", func(ctx context.Context) error { l.drain(ctx); return nil })
	a.runNotifier(notifier)
	signing := auth.NewSigning(things, opts.Now)
	foreign := a.newForeign(things, allow)
	tokens := auth.NewTokens(things, signing, cfg.PublicURL, foreign)
	a.whileRunning(signing.Run)
	handler := api.Handler(api.Deps{
		Log: opts.Log, Now: opts.Now, Keys: a.keys(things, tokens), Keyring: auth.NewKeyring(things, opts.Now), Tokens: tokens, Signing: signing,
		Sessions: auth.NewSessions(things), People: a.newPeople(things), OIDC: oidc.New(egress.New(allow), opts.Now), SAML: a.newSAML(allow), Issuers: foreign,
		RateLimit: cfg.RateLimit, Tickets: auth.NewTickets(), Catalog: a.catalog, Audit: things, Registry: registry, Secrets: a.vault,
		Events: events, Incidents: incidents, Query: engine, Reports: reports, Vendors: source.NewCatalogue(), Channels: types, Tester: notifier, Door: door,
		Live: hub.Serve, IncidentChanged: hub.IncidentChanged, Metrics: seen.handler(), Ready: l.refuse, Rebuilding: l.rebuilding, Stalled: a.crew.stalled, Losses: l.losses, Limits: limitsAlone(limits), Partitions: log.Partitions(),
		Usage: ledger, Meter: a.newMeter(things),
		PublicURL: cfg.PublicURL, Version: opts.Version,
	}, ui.Handler())
	if err := a.listen(ctx, handler, hub.Close); err != nil {
		return err
	}
	a.control(ctx, files, events, log)
	return nil
}
