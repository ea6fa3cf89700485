package app

import (
	"cmp"
	"context"
	"errors"

	"github.com/pulsestream/pulsestream/internal/billing"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/usage"
)

// newLedger reads what tenants have used.
func newLedger(events store.Events, things store.Catalog, registry *catalog.Registry) *usage.Ledger {
	return &usage.Ledger{Events: events, Book: things.Usage(), Metrics: func(ctx context.Context, t tenant.ID) ([]usage.Metric, error) {
		d, err := registry.Tenant(ctx, t)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil // it was deleted, and what it has used was not
		}
		if err != nil {
			return nil, err
		}
		var out []usage.Metric
		for _, p := range d.Metrics.All() {
			out = append(out, usage.Metric{ID: p.Definition().ID, Dimensions: len(p.Dimensions())})
		}
		return out, nil
	}}
}

// newMeter counts queries.
func (a *App) newMeter(things store.Catalog) *usage.Meter {
	m := usage.NewMeter(things.Usage(), a.opts.Now, a.opts.Log)
	a.whileRunning(m.Run)
	return m
}

// newQuotas counts months for the door. What was used so far is known before the first request comes.
func (a *App) newQuotas(ctx context.Context, ledger *usage.Ledger) ingest.Quotas {
	q := usage.NewQuotas(ledger, a.opts.Now, a.opts.Log)
	if err := q.Look(ctx); err != nil {
		a.opts.Log.Warn("what tenants have used this month is not known yet; quotas begin to hold when it is", "error.message", err.Error())
	}
	a.whileRunning(q.Run)
	return q
}

// keepUsage brings hours that are over into the catalog, and tells the billing system if there is one. Mine says whether it is this process's to do; nil: always.
func (a *App) keepUsage(ledger *usage.Ledger, secrets config.Secrets, mine func() bool) error {
	cfg := usage.KeeperConfig{Ledger: ledger, Now: a.opts.Now, Log: a.opts.Log, Mine: mine}
	if a.cfg.BillingURL != "" {
		allow, err := a.cfg.Egress()
		if err != nil {
			return err
		}
		sender, err := billing.New(billing.Config{URL: a.cfg.BillingURL, Secret: secrets.BillingSecret, Source: cmp.Or(a.cfg.PublicURL, "pulsestream"), Book: ledger.Book,
			Guard: egress.New(allow), Now: a.opts.Now})
		if err != nil {
			return err
		}
		cfg.Then = sender.Send
	}
	a.whileRunning(usage.NewKeeper(cfg).Run)
	return nil
}
