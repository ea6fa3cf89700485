package app

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// telemetry is what Prometheus is told. It implements process.Observer.
type telemetry struct {
	registry   *prometheus.Registry
	processed  *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	failures   *prometheus.CounterVec
	folded     prometheus.Counter
	sentAway   *prometheus.CounterVec
	lag        *prometheus.GaugeVec
	commits    *prometheus.HistogramVec
	marks      []atomic.Uint64 // the last committed sequence of each partition
}

func newTelemetry(partitions int) *telemetry {
	t := &telemetry{
		marks:    make([]atomic.Uint64, partitions),
		registry: prometheus.NewRegistry(),
		processed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pulsestream_events_processed_total",
			Help: "Events taken from the log, duplicates left out."}, []string{"partition"}),
		duplicates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pulsestream_events_duplicate_total",
			Help: "Events that were received before, within the dedupe window."}, []string{"partition"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pulsestream_process_failures_total",
			Help: "Failures of a stage; the log says more."}, []string{"partition", "stage"}),
		folded: prometheus.NewCounter(prometheus.CounterOpts{Name: "pulsestream_series_folded_total",
			Help: "Observations counted under __other__ because the metric has too many series."}),
		sentAway: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pulsestream_requests_refused_total",
			Help: "Requests for events answered 429 or 503 before they were read: rate, key-rate, quota, memory, backlog or pressure."}, []string{"reason"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pulsestream_log_lag_messages",
			Help: "Log messages that wait for the partition's worker."}, []string{"partition"}),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pulsestream_commit_duration_seconds",
			Help: "Time of one commit to the store.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"partition"}),
	}
	t.registry.MustRegister(t.processed, t.duplicates, t.failures, t.folded, t.sentAway, t.lag, t.commits,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return t
}

// notifications adds what the notifier counts.
func (t *telemetry) notifications(stats func() notify.Stats) {
	count := func(name, help string, value func(notify.Stats) float64) {
		t.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	count("pulsestream_notifications_delivered_total", "Notifications delivered.", func(s notify.Stats) float64 { return float64(s.Delivered) })
	count("pulsestream_notifications_retried_total", "Attempts that failed and will be repeated.", func(s notify.Stats) float64 { return float64(s.Retried) })
	count("pulsestream_notifications_dead_total", "Notifications given up.", func(s notify.Stats) float64 { return float64(s.Dead) })
}

// questions adds what is known of those that read events.
func (t *telemetry) questions(stats func() query.EngineStats) {
	gauge := func(name, help string, value func(query.EngineStats) float64) {
		t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	gauge("pulsestream_queries_reading", "Queries that read events at the moment.", func(s query.EngineStats) float64 { return float64(s.Reading) })
	gauge("pulsestream_queries_waiting", "Queries that wait for their turn to read events.", func(s query.EngineStats) float64 { return float64(s.Waiting) })
	t.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pulsestream_queries_refused_total",
		Help: "Queries that did not get their turn to read events, and were told to come again."}, func() float64 { return float64(stats().Refused) }))
}

// pressure adds whether events are refused.
func (t *telemetry) pressure(refuse func() error) {
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pulsestream_refusing",
		Help: "1 while events are refused: /readyz says why."}, func() float64 {
		if refuse() != nil {
			return 1
		}
		return 0
	}))
}

// losses adds what damage has taken from the log, and what could be mended.
func (t *telemetry) losses(lost func() []api.Loss, repairs func() int) {
	gauge := func(name, help string, value func() float64) {
		t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	count := func(add func(l *api.Loss) uint64) func() float64 {
		return func() float64 {
			n, all := uint64(0), lost()
			for i := range all {
				n += add(&all[i])
			}
			return float64(n)
		}
	}
	gauge("pulsestream_log_losses", "Stretches of the log that were ever found to be gone: /readyz names them.", count(func(*api.Loss) uint64 { return 1 }))
	gauge("pulsestream_log_lost_messages", "Log messages that are gone, as far as their number is known.",
		count(func(l *api.Loss) uint64 { gone, _, _ := l.Messages(); return gone }))
	gauge("pulsestream_log_lost_messages_not_stored", "Of these, those that were not in the store either: acknowledged events that are lost.",
		count(func(l *api.Loss) uint64 { _, missing, _ := l.Messages(); return missing }))
	gauge("pulsestream_log_repairs", "Damage to the log by which nothing was lost.", func() float64 { return float64(repairs()) })
}

func (t *telemetry) handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{Registry: t.registry})
}

func (t *telemetry) Processed(partition, events, duplicates int) {
	p := strconv.Itoa(partition)
	t.processed.WithLabelValues(p).Add(float64(events))
	t.duplicates.WithLabelValues(p).Add(float64(duplicates))
}

func (t *telemetry) Committed(partition int, seq uint64, took time.Duration) {
	t.marks[partition].Store(seq)
	t.commits.WithLabelValues(strconv.Itoa(partition)).Observe(took.Seconds())
}

func (t *telemetry) Lag(partition int, messages uint64) {
	t.lag.WithLabelValues(strconv.Itoa(partition)).Set(float64(messages))
}

func (t *telemetry) Failed(partition int, stage string) {
	t.failures.WithLabelValues(strconv.Itoa(partition), stage).Inc()
}

func (t *telemetry) refused(_ tenant.ID, reason string) { t.sentAway.WithLabelValues(reason).Inc() }

// Folded counts without saying whose: these pages need no credentials. The metric's owner sees it in the metric.
func (t *telemetry) Folded(tenant.ID, int64) { t.folded.Inc() }
