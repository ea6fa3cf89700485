package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/limit/redis"
)

// openLimits makes what counts rates: for all processes with --redis, else for this one.
func (a *App) openLimits(ctx context.Context) (limit.Meter, error) {
	if a.cfg.Redis == "" {
		return limit.NewLocal(a.opts.Now), nil
	}
	shared, err := redis.Open(ctx, redis.Config{URL: a.cfg.Redis, Log: a.opts.Log, Now: a.opts.Now})
	if err != nil {
		return nil, err
	}
	shared.Start()
	a.onStop("limits", func(context.Context) error { shared.Stop(); return nil })
	return shared, nil
}

// limitsAlone says whether limits that should be shared are not at present.
func limitsAlone(m limit.Meter) func() bool {
	if shared, ok := m.(*redis.Meter); ok {
		return shared.Away
	}
	return func() bool { return false }
}

// limits adds how limits are counted, where they are to be shared.
func (t *telemetry) limits(m limit.Meter) {
	shared, ok := m.(*redis.Meter)
	if !ok {
		return
	}
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pulsestream_limits_shared",
		Help: "1 while limits are shared by all processes, 0 while Redis is away and each process limits by itself."}, func() float64 {
		if shared.Away() {
			return 0
		}
		return 1
	}), prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pulsestream_limits_fallback_total",
		Help: "Requests whose limit was decided by this process alone because Redis did not answer in time."}, func() float64 { return float64(shared.Fallbacks()) }))
}
