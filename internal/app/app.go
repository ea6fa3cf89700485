// Package app puts the parts together: New wires them in the order of their dependencies, Start sets them going, Stop ends them
// in the opposite order.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/live"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/notify/email"
	"github.com/pulsestream/pulsestream/internal/notify/webhook"
	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/source"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/ui"
)

// Settings that are the same everywhere.
const (
	dedupeWindow = 24 * time.Hour
	maxSeries    = 5000
	commitEvery  = 25 * time.Millisecond
	liveSpan     = 15 * time.Minute
	pollCatalog  = 2 * time.Second
	// checkpointLog bounds what is replayed after a crash, and with it the time until a server is ready again.
	checkpointLog = 32 << 20
	// requestsEnd is how long a stop waits for requests under way.
	requestsEnd = 8 * time.Second
	// requestMemory bounds the bodies of requests for events that are under way. Parsed and encoded they take some three times as much.
	requestMemory = 128 << 20
)

// Options are what New needs beside the settings.
type Options struct {
	Version string
	Log     *slog.Logger
	// Announce gets what a person who starts the server has to know: the first key.
	Announce io.Writer
	Now      func() time.Time
}

// App is a whole server.
type App struct {
	cfg      config.Serve
	opts     Options
	cleanups []cleanup
	server   *http.Server
	listener net.Listener
	workers  []*process.Worker
	catalog  *catalog.Catalog
	hub      *live.Hub
	reports  *report.Service
	cache    atomic.Pointer[query.Cache] // nil until there is one
	load     *load
	notifier *notify.Notifier
	stop     context.CancelFunc
	running  sync.WaitGroup
	key      string
	failed   chan error
}

// cleanup gives back one thing that was taken.
type cleanup struct {
	name string
	do   func(context.Context) error
}

func (a *App) onStop(name string, do func(context.Context) error) {
	a.cleanups = append(a.cleanups, cleanup{name, do})
}

// New opens everything, in the order of dependencies. What it has opened is closed again when it fails.
func New(ctx context.Context, cfg config.Serve, secrets config.Secrets, opts Options) (a *App, err error) {
	a = &App{cfg: cfg, opts: opts, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := a.lockData(); err != nil {
		return a, err
	}
	allow, err := cfg.Egress()
	if err != nil {
		return a, err
	}
	limits, err := a.openLimits(ctx)
	if err != nil {
		return a, err
	}
	things, err := sqlite.Open(ctx, sqlite.Config{Path: cfg.CatalogPath(), Log: opts.Log})
	if err != nil {
		return a, fmt.Errorf("open the catalog: %w", err)
	}
	a.onStop("catalog", func(context.Context) error { return things.Close() })
	if err := a.bootstrap(ctx, things, secrets); err != nil {
		return a, err
	}
	events, err := a.openEvents(ctx, things)
	if err != nil {
		return a, fmt.Errorf("open the store of events: %w", err)
	}
	a.onStop("events", func(context.Context) error { return events.Close() })
	log, err := bus.Open(ctx, bus.Config{Dir: cfg.LogDir(), Partitions: cfg.Partitions, Log: opts.Log,
		Committed: func(ctx context.Context, partition int) (string, uint64, error) {
			state, err := events.Partition(ctx, partition)
			return state.Offset.Incarnation, state.Offset.Seq, err
		}})
	if err != nil {
		return a, fmt.Errorf("open the log: %w", err)
	}
	a.onStop("log", func(context.Context) error { log.Close(); return nil })

	seen := newTelemetry(log.Partitions())
	a.catalog = catalog.New(things, log.AnnounceCatalog, opts.Now)
	registry := catalog.NewRegistry(a.catalog, opts.Log)
	cached := query.NewCache(events, query.CacheConfig{Now: opts.Now})
	a.cache.Store(cached)
	engine := &query.Engine{Events: cached, Columns: events}
	incidents := &api.Incidents{Events: events, Catalog: a.catalog, Queue: things.Queue()}
	guard := egress.New(allow)
	channels := notify.Registry{"webhook": webhook.New(webhook.Config{Guard: guard}), "email": email.New(email.Config{Guard: guard})}
	a.notifier = notify.New(notify.Config{}, notify.Deps{Transitions: events, Queue: things.Queue(), Channels: notify.CatalogChannels(things),
		Types: channels, Keep: keep(things), Log: opts.Log, IncidentURL: a.incidentURL, Now: opts.Now})
	seen.notifications(a.notifier.Stats)
	a.hub = live.New(live.Config{
		Log: opts.Log, Now: opts.Now, Store: events, Query: engine, Span: liveSpan, Partitions: log.Partitions(), Wake: a.notifier.Wake,
		Metrics: func(ctx context.Context, t tenant.ID) (*metric.Set, error) {
			d, err := registry.Tenant(ctx, t)
			return d.Metrics, err
		},
		Open: func(ctx context.Context, t tenant.ID) ([]any, error) {
			open, err := incidents.Many(ctx, t, store.IncidentQuery{State: "firing", Limit: 500})
			return anys(open), err
		},
		Incident: func(ctx context.Context, t tenant.ID, id string) (any, error) { return incidents.One(ctx, t, id) },
	})
	a.onStop("live", func(context.Context) error { a.hub.Close(); return nil })
	for p := range log.Partitions() {
		a.workers = append(a.workers, process.NewWorker(p, process.Config{
			Log: opts.Log, Stream: log, Store: cached, Configuration: definitions{registry}, Live: a.hub, Observer: seen, Now: opts.Now,
			DedupeWindow: dedupeWindow, MaxSeries: maxSeries, CommitEvery: commitEvery, Tick: time.Second, LiveSpan: liveSpan,
		}))
	}
	unsubscribe, err := log.OnCatalogChange(func(tenant.ID) { a.refresh() })
	if err != nil {
		return a, err
	}
	a.onStop("catalog changes", func(context.Context) error { unsubscribe(); return nil })
	a.load = &load{log: log, events: events, marks: seen.marks, dir: cfg.LogDir(), now: opts.Now, said: opts.Log, room: limit.NewRoom(requestMemory), stalled: a.stalled}
	if err := a.load.begin(ctx); err != nil {
		return a, err
	}
	seen.pressure(a.load.refuse)
	seen.limits(limits)
	seen.losses(a.load.losses, func() int { return len(log.Repairs()) })
	committer := ingest.NewCommitter(log, bus.MaxPayload, opts.Now)
	a.onStop("ingest", func(context.Context) error { committer.Stop(); return nil })
	door := ingest.NewDoor(ingest.DoorConfig{Committer: committer, Meter: limits, Room: a.load.room, Readers: runtime.GOMAXPROCS(0), Ready: a.load.refuse,
		Refused: seen.refused, Now: opts.Now, Log: opts.Log})
	a.reports = report.Open(report.Config{Dir: cfg.ReportsDir(), Log: opts.Log, Now: opts.Now, Events: events, Query: engine, Partitions: log.Partitions(),
		Metrics: func(ctx context.Context, t tenant.ID) (*metric.Set, error) {
			d, err := registry.Tenant(ctx, t)
			return d.Metrics, err
		},
		Incomplete: func() bool { return events.Rebuilding() != nil }, Running: min(2, runtime.GOMAXPROCS(0)/2),
	})
	signing := auth.NewSigning(things, opts.Now)
	tokens := auth.NewTokens(things, signing, cfg.PublicURL)
	handler := api.Handler(api.Deps{
		Log: opts.Log, Now: opts.Now, Keys: auth.NewKeys(things, tokens), Keyring: auth.NewKeyring(things, opts.Now), Tokens: tokens, Signing: signing, RateLimit: cfg.RateLimit, Tickets: auth.NewTickets(), Catalog: a.catalog, Registry: registry,
		Events: events, Incidents: incidents, Query: engine, Reports: a.reports, Vendors: source.NewCatalogue(), Channels: channels, Tester: a.notifier, Door: door,
		Live: a.hub.Serve, IncidentChanged: a.hub.IncidentChanged, Metrics: seen.handler(), Ready: a.load.refuse, Rebuilding: a.load.rebuilding, Stalled: a.stalled, Losses: a.load.losses, Limits: limitsAlone(limits), Partitions: log.Partitions(),
		PublicURL: cfg.PublicURL, Version: opts.Version,
	}, ui.Handler())
	if err := a.listen(ctx, handler); err != nil {
		return a, err
	}
	a.control(ctx, things, events, log)
	return a, nil
}

func anys[T any](in []T) []any {
	out := make([]any, 0, len(in))
	for _, v := range in {
		out = append(out, v)
	}
	return out
}

// definitions hands the registry's to the workers.
type definitions struct{ registry *catalog.Registry }

func (d definitions) Definitions(ctx context.Context) ([]process.Definitions, error) {
	all, err := d.registry.All(ctx)
	out := make([]process.Definitions, 0, len(all))
	for _, t := range all {
		out = append(out, process.Definitions{Tenant: t.Tenant, Metrics: t.Metrics, Rules: t.Rules})
	}
	return out, err
}

// lockData makes the data directory and makes sure that no other process uses it.
func (a *App) lockData() error {
	if err := os.MkdirAll(a.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(a.cfg.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("the data directory %s is used by another process: stop it, or choose another with --data-dir", a.cfg.DataDir)
	}
	a.onStop("lock", func(context.Context) error { return f.Close() })
	return backup.Unfinished(a.cfg.DataDir)
}

func (a *App) bootstrap(ctx context.Context, things *sqlite.Store, secrets config.Secrets) error {
	key, made, err := auth.Bootstrap(ctx, things, secrets.BootstrapAPIKey, a.cfg.DataDir, a.opts.Now())
	if err != nil && !made {
		return err
	}
	a.key = key
	if made && secrets.BootstrapAPIKey == "" {
		_, err = fmt.Fprintf(a.opts.Announce, "\nThe first administrator's API key, shown this once (also in %s):\n\n    %s\n\n",
			filepath.Join(a.cfg.DataDir, auth.BootstrapFile), key)
	}
	return err
}

// BootstrapKey is the first key if this start has made it.
func (a *App) BootstrapKey() string { return a.key }

func (a *App) incidentURL(t alert.Transition) string {
	if a.cfg.PublicURL == "" {
		return ""
	}
	return a.cfg.PublicURL + "/incidents/" + t.Incident
}

func (a *App) listen(ctx context.Context, handler http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.cfg.Listen, err)
	}
	a.listener = l
	a.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.opts.Log.Handler(), slog.LevelDebug)}
	a.onStop("http", func(ctx context.Context) error {
		a.hub.Close() // WebSockets are not the server's to wait for
		ctx, cancel := context.WithTimeout(ctx, requestsEnd)
		defer cancel()
		err := a.server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) { // none of these has been told that its events were taken
			a.opts.Log.Warn("requests that take too long are cut off: the server is stopping", "error.message", err.Error())
			err = a.server.Close()
		}
		return err
	})
	return nil
}

// Addr is the address that is listened on.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Start sets everything going and returns.
func (a *App) Start(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range a.workers {
		a.running.Go(func() { w.Run(ctx) })
	}
	a.running.Go(func() { a.hub.Run(ctx) })
	a.running.Go(func() { a.reports.Run(ctx) })
	a.running.Go(func() { a.load.events.Scrub(ctx) })
	a.running.Go(func() { a.watchCatalog(ctx) })
	a.running.Go(func() { a.load.watch(ctx) })
	if err := a.notifier.Start(ctx); err != nil {
		return err
	}
	go func() {
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	return nil
}

// Failed is sent the error that ended the server by itself.
func (a *App) Failed() <-chan error { return a.failed }

func (a *App) refresh() {
	for _, w := range a.workers {
		w.Refresh()
	}
}

// Why what was taken is not processed, as everybody may hear it; the log has the rest.
var (
	errNoRoom    = errors.New("the disk has no room for the store of events")
	errNoCommits = errors.New("the store of events refuses commits, for no fault of the events: the server's log says why")
)

// stalled says why a worker cannot go on, or nil.
func (a *App) stalled() error {
	for _, w := range a.workers {
		switch err := w.Stalled(); {
		case errors.Is(err, store.ErrFull):
			return errNoRoom
		case err != nil:
			return errNoCommits
		}
	}
	return nil
}

// watchCatalog notices changes whose announcement was lost.
func (a *App) watchCatalog(ctx context.Context) {
	ticker := time.NewTicker(pollCatalog)
	defer ticker.Stop()
	last := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		revision, err := a.catalog.Revision(ctx)
		if err == nil && revision != last {
			if last >= 0 {
				a.refresh()
			}
			last = revision
		}
	}
}

// Stop ends everything: first what brings work in, last what keeps it. It may be called after a failed New.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	take := func(name string) {
		for i := len(a.cleanups) - 1; i >= 0; i-- {
			if name != "" && a.cleanups[i].name != name {
				continue
			}
			c := a.cleanups[i]
			a.cleanups = append(a.cleanups[:i], a.cleanups[i+1:]...)
			if err := c.do(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
			}
		}
	}
	take("http")
	take("ingest")
	if a.stop != nil {
		a.load.drain(ctx)
		if err := a.notifier.Stop(ctx); err != nil {
			errs = append(errs, err)
		}
		a.stop()
		a.running.Wait()
	}
	take("")
	return errors.Join(errs...)
}
