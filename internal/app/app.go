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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/web"
	"github.com/pulsestream/pulsestream/internal/web/quick"
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

// App is a server: a whole one, or a process of a fleet that does some of it.
type App struct {
	cfg      config.Serve
	opts     Options
	cleanups []cleanup
	starts   []func(context.Context) error
	quiet    []cleanup // done in order when nothing comes in any more, and before what was started ends
	server   *http.Server
	listener net.Listener
	crew     crew
	catalog  *catalog.Catalog
	vault    *vault.Catalog
	cache    atomic.Pointer[query.Cache] // nil until there is one
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

// whileRunning has run called by Start, with a context that Stop ends, and waits then for its return.
func (a *App) whileRunning(run func(context.Context)) {
	a.starts = append(a.starts, func(ctx context.Context) error {
		a.running.Go(func() { run(ctx) })
		return nil
	})
}

// beforeQuiet has do called by a Stop when nothing comes in any more.
func (a *App) beforeQuiet(name string, do func(context.Context) error) {
	a.quiet = append(a.quiet, cleanup{name, do})
}

// New opens everything, in the order of dependencies. What it has opened is closed again when it fails.
func New(ctx context.Context, cfg config.Serve, secrets config.Secrets, opts Options) (a *App, err error) {
	a = &App{cfg: cfg, opts: opts, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if cfg.Fleet() {
		return a, a.fleet(ctx, secrets)
	}
	return a, a.alone(ctx, secrets)
}

// Start sets everything going and returns.
func (a *App) Start(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, start := range a.starts {
		if err := start(ctx); err != nil {
			return err
		}
	}
	go func() {
		if err := a.serve(); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve: %w", err))
		}
	}()
	return nil
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

func (d definitions) Generation(ctx context.Context) (int64, error) {
	return d.registry.Generation(ctx)
}

func (d definitions) Definitions(ctx context.Context) ([]process.Definitions, error) {
	all, err := d.registry.All(ctx)
	out := make([]process.Definitions, 0, len(all))
	for _, t := range all {
		out = append(out, process.Definitions{Tenant: t.Tenant, Metrics: t.Metrics, Rules: t.Rules, MaxSeries: t.Quotas.Series})
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

func (a *App) bootstrap(ctx context.Context, things store.Catalog, secrets config.Secrets) error {
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

// listen takes the address that handler will serve. Before a stop waits for requests, leave ends those that have no end of their own.
func (a *App) listen(ctx context.Context, handler http.Handler, leave func()) error {
	const _ = uint(ingest.SmallBody - quick.MostBody) // what is read by quick waits for no turn: nobody would tell it that the client has left
	proxies, err := a.cfg.Proxies()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.cfg.Listen, err)
	}
	handler = web.Behind(proxies, handler)
	a.listener = l
	a.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.opts.Log.Handler(), slog.LevelDebug)}
	a.server.Protocols = new(http.Protocols)
	a.server.Protocols.SetHTTP1(true) // and no other: a WebSocket needs a connection of its own
	if a.server.TLSConfig, err = tlsConfig(a.cfg, a.opts.Now); err != nil {
		return errors.Join(err, l.Close())
	}
	var events *quick.Listener
	if a.server.TLSConfig == nil {
		events = quick.NewListener(l, api.TakesEvents, a.server, a.opts.Log)
		a.listener = events
	}
	a.onStop("http", func(ctx context.Context) error {
		leave()
		ctx, cancel := context.WithTimeout(ctx, requestsEnd)
		defer cancel()
		drained := make(chan error, 1)
		go func() {
			if events == nil {
				drained <- nil
				return
			}
			drained <- events.Drain(ctx)
		}()
		err := errors.Join(a.server.Shutdown(ctx), <-drained)
		if errors.Is(err, context.DeadlineExceeded) { // none of these has been told that its events were taken
			a.opts.Log.Warn("requests that take too long are cut off: the server is stopping", "error.message", err.Error())
			err = a.server.Close()
		}
		return err
	})
	return nil
}

// serve answers until the server is stopped.
func (a *App) serve() error {
	if a.server.TLSConfig != nil {
		return a.server.ServeTLS(a.listener, "", "")
	}
	return a.server.Serve(a.listener)
}

// URL is where the server is reached on this machine.
func (a *App) URL() string {
	if a.server.TLSConfig != nil {
		return "https://" + a.Addr()
	}
	return "http://" + a.Addr()
}

// Addr is the address that is listened on.
func (a *App) Addr() string { return a.listener.Addr().String() }

// fail ends the server; the first one says why.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// Failed is sent the error that ended the server by itself.
func (a *App) Failed() <-chan error { return a.failed }

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
				a.crew.refresh()
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
		for _, c := range a.quiet {
			if err := c.do(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
			}
		}
		a.stop()
		a.running.Wait()
	}
	take("")
	return errors.Join(errs...)
}
