package app

import (
	"context"
	"net/netip"
	"runtime"
	"time"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
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
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// The parts that a whole server and a process of a fleet make alike.

func channels(allow []netip.Prefix) notify.Registry {
	guard := egress.New(allow)
	return notify.Registry{"webhook": webhook.New(webhook.Config{Guard: guard}), "email": email.New(email.Config{Guard: guard})}
}

// newNotifier makes a notifier, which tells nobody before it is started.
func (a *App) newNotifier(things store.Catalog, events store.Events, types notify.Registry, keep func(context.Context, []store.NumberedTransition) error) *notify.Notifier {
	return notify.New(notify.Config{}, notify.Deps{Transitions: events, Queue: things.Queue(), Channels: notify.CatalogChannels(things),
		Types: types, Keep: keep, Log: a.opts.Log, IncidentURL: a.incidentURL, Now: a.opts.Now})
}

// runNotifier has it tell.
func (a *App) runNotifier(n *notify.Notifier) {
	a.starts = append(a.starts, n.Start)
	a.beforeQuiet("notifications", n.Stop)
}

// metricsOf are a tenant's metrics as they are now.
func metricsOf(registry *catalog.Registry) func(context.Context, tenant.ID) (*metric.Set, error) {
	return func(ctx context.Context, t tenant.ID) (*metric.Set, error) {
		d, err := registry.Tenant(ctx, t)
		return d.Metrics, err
	}
}

func (a *App) newHub(events store.Events, engine *query.Engine, registry *catalog.Registry, incidents *api.Incidents, partitions int, wake func()) *live.Hub {
	hub := live.New(live.Config{
		Log: a.opts.Log, Now: a.opts.Now, Store: events, Query: engine, Span: liveSpan, Partitions: partitions, Wake: wake, Metrics: metricsOf(registry),
		Open: func(ctx context.Context, t tenant.ID) ([]any, error) {
			open, err := incidents.Many(ctx, t, store.IncidentQuery{State: "firing", Limit: 500})
			return anys(open), err
		},
		Incident: func(ctx context.Context, t tenant.ID, id string) (any, error) { return incidents.One(ctx, t, id) },
	})
	a.onStop("live", func(context.Context) error { hub.Close(); return nil })
	a.whileRunning(hub.Run)
	return hub
}

// newWorker makes the owner of a partition.
func (a *App) newWorker(p int, stream process.Log, events process.Store, shown process.Live, registry *catalog.Registry, seen *telemetry) *process.Worker {
	return process.NewWorker(p, process.Config{
		Log: a.opts.Log, Stream: stream, Store: events, Configuration: definitions{registry}, Live: shown, Observer: seen, Now: a.opts.Now,
		DedupeWindow: dedupeWindow, MaxSeries: maxSeries, CommitEvery: commitEvery, Tick: time.Second, LiveSpan: liveSpan,
	})
}

// newDoor makes the door that events come in by.
func (a *App) newDoor(log ingest.Log, l *load, limits limit.Meter, quotas ingest.Quotas, seen *telemetry) *ingest.Door {
	committer := ingest.NewCommitter(log, bus.MaxPayload, a.opts.Now)
	a.onStop("ingest", func(context.Context) error { committer.Stop(); return nil })
	seen.pressure(l.refuse)
	seen.limits(limits)
	return ingest.NewDoor(ingest.DoorConfig{Committer: committer, Meter: limits, Quotas: quotas, Room: l.room, Readers: runtime.GOMAXPROCS(0), Ready: l.refuse,
		Refused: seen.refused, Now: a.opts.Now, Log: a.opts.Log})
}

func (a *App) newReports(events report.Source, engine *query.Engine, registry *catalog.Registry, partitions int, incomplete func() bool) *report.Service {
	reports := report.Open(report.Config{Dir: a.cfg.ReportsDir(), Log: a.opts.Log, Now: a.opts.Now, Events: events, Query: engine, Partitions: partitions,
		Metrics: metricsOf(registry), Incomplete: incomplete, Running: min(2, runtime.GOMAXPROCS(0)/2)})
	a.whileRunning(reports.Run)
	return reports
}
