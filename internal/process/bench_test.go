package process

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// taking is a store, a live and an observer that only take.
type taking struct {
	events, rollups, deltas, transitions int
}

func (k *taking) Partition(context.Context, int) (store.PartitionState, error) {
	return store.PartitionState{}, nil
}

func (k *taking) Commit(_ context.Context, c *store.Commit) (store.Offset, error) {
	k.events += len(c.Events)
	k.rollups += len(c.Rollups)
	to := c.To
	to.Revision = c.From.Revision + 1
	return to, nil
}

func (k *taking) Identities(context.Context, int, time.Time, func(store.Identity) error) error {
	return nil
}

func (k *taking) Scan(context.Context, tenant.ID, store.Scan, func(*event.Stored) error) error {
	return nil
}

func (k *taking) Rollups(context.Context, tenant.ID, store.RollupQuery, func(*series.Rollup) error) error {
	return nil
}

func (k *taking) Restart(int, []series.Delta) {}
func (k *taking) History(int, []series.Delta) {}
func (k *taking) Publish(_ int, _ uint64, deltas []series.Delta, _ []event.Stored) {
	k.deltas += len(deltas)
}

type counting struct{ k *taking }

func (counting) Processed(int, int, int)              {}
func (counting) Committed(int, uint64, time.Duration) {}
func (counting) Lag(int, uint64)                      {}
func (counting) Failed(int, string)                   {}
func (counting) Folded(tenant.ID, int64)              {}

type taker struct{ *taking }

func (t taker) Committed(_ int, _ uint64, transitions []alert.Transition) {
	t.transitions += len(transitions)
}

// load is log messages of one shape: so many events in each, of so many tenants.
type load struct {
	tenants, size, perMessage int
	// others are metrics of each tenant that are about no event that comes.
	others int
}

var (
	benchCountries = [...]string{"US", "DE", "FR", "GB", "BR", "IN", "JP", "NL"}
	benchStatuses  = [...]string{"succeeded", "succeeded", "succeeded", "succeeded", "failed"}
)

const (
	benchTypes   = 8
	benchSources = 4
)

func benchTenant(i int) tenant.ID { return tenant.ID(fmt.Sprintf("tenant-%02d", i)) }

func benchEvent(i int) event.Event {
	return event.Event{
		ID: fmt.Sprintf("evt_%016x", i), Source: fmt.Sprint("shop-", i/3%benchSources), Type: fmt.Sprint("charge.kind", i%benchTypes), Subject: fmt.Sprint("customer_", i*7919%5000),
		Identified: true, Data: fmt.Appendf(nil, `{"object":"charge","amount":%d,"currency":"usd","country":"%s","status":"%s","attempt":%d,"card":{"brand":"visa","last4":"4242","exp_year":%d},"balance_transaction":"txn_%016x","livemode":true}`,
			100+i*37%20_000, benchCountries[i*5%len(benchCountries)], benchStatuses[i*3%len(benchStatuses)], 1+i%3, 2030+i%5, uint64(i)*0x9e3779b97f4a7c15),
	}
}

// benchDefinitions are four metrics that are about every event of the load, and ten rules.
func benchDefinitions(tb testing.TB, t tenant.ID, at int, others int) Definitions {
	tb.Helper()
	id := int64(1000 + 2000*at)
	defs := []metric.Definition{
		metric.Events(t),
		{ID: id + 1, Slug: "revenue", Filter: "data.livemode == true", Value: "data.amount / 100.0", Dimensions: map[string]string{"country": "data.country", "currency": "data.currency"}},
		{ID: id + 2, Slug: "charges", EventTypes: []string{"charge.*"}, Filter: `data.object == "charge"`, Value: "data.amount", Dimensions: map[string]string{"status": "data.status", "type": "type"}},
		{ID: id + 3, Slug: "attempts", Filter: "data.attempt > 0", Value: "data.attempt", Dimensions: map[string]string{"status": "data.status", "brand": "data.card.brand", "country": "data.country"}},
	}
	for i := range others {
		defs = append(defs, metric.Definition{ID: id + 10 + int64(i), Slug: fmt.Sprint("other", i), EventTypes: []string{fmt.Sprintf("other.%d", i)}, Value: "data.x"})
	}
	var programs []*metric.Program
	bound := map[string]*metric.Program{}
	for _, d := range defs {
		d.Tenant = t
		p, err := metric.Compile(d)
		if err != nil {
			tb.Fatal(err)
		}
		programs = append(programs, p)
		bound[d.Slug] = p
	}
	out := Definitions{Tenant: t, Metrics: metric.NewSet(programs)}
	for i, r := range []alert.Rule{
		{Metric: "events", Agg: series.Count}, {Metric: "events", Agg: series.Rate, GroupBy: []string{"type"}}, {Metric: "events", Agg: series.Count, Where: map[string]string{"source": "shop-1"}},
		{Metric: "revenue", Agg: series.Sum}, {Metric: "revenue", Agg: series.Avg, GroupBy: []string{"country"}}, {Metric: "charges", Agg: series.Count, Where: map[string]string{"status": "failed"}},
		{Metric: "charges", Agg: series.Max}, {Metric: "charges", Agg: series.P95}, {Metric: "attempts", Agg: series.Avg, GroupBy: []string{"status"}}, {Metric: "attempts", Agg: series.Sum, Where: map[string]string{"country": "DE"}},
	} {
		r.ID, r.Tenant, r.Slug, r.Enabled = id+1500+int64(i), t, fmt.Sprint("rule", i), true
		r.Window, r.Condition = series.Duration(5*time.Minute), alert.Condition{Type: "threshold", Op: ">", Value: 1e15}
		r.Normalize()
		p := bound[r.Metric]
		out.Rules = append(out.Rules, alert.Bound{Rule: r, MetricID: p.Definition().ID, Dimensions: p.Dimensions()})
	}
	return out
}

// message is one log message, with the places of its ids.
type message struct {
	payload []byte
	ids     []int
}

func (l load) messages(now time.Time, n int) []message {
	out := make([]message, n)
	at := 0
	for k := range out {
		b := event.BeginBatch(nil)
		var ids []int
		for i := range l.size {
			ev := benchEvent(at)
			ev.Time, ev.Received = now.Add(time.Duration(at)*time.Microsecond), now.Add(time.Duration(at)*time.Microsecond)
			t := benchTenant((k*l.perMessage + i*l.perMessage/l.size) % l.tenants)
			from := len(b)
			b = event.AppendEvent(b, t, &ev)
			ids = append(ids, from+bytes.Index(b[from:], []byte("evt_"))+len("evt_"))
			at++
		}
		out[k] = message{b, ids}
	}
	return out
}

// renew gives the events of a message ids that were not there before.
func (m *message) renew(round uint64) {
	const digits = "0123456789abcdef"
	for i, at := range m.ids {
		x := round<<20 | uint64(i)
		for k := range 16 {
			m.payload[at+k] = digits[x>>(60-4*k)&15]
		}
	}
}

func (l load) session(tb testing.TB, k *taking) *session {
	tb.Helper()
	cfg := Config{Log: slog.New(slog.DiscardHandler), Store: k, Live: taker{k}, Observer: counting{k}, Now: time.Now, DedupeWindow: 24 * time.Hour, MaxSeries: 10_000}
	s := NewWorker(0, cfg).newSession()
	s.offset, s.reader = store.Offset{Incarnation: "i"}, &bus.Reader{}
	var rules []alert.Bound
	for i := range l.tenants {
		d := benchDefinitions(tb, benchTenant(i), i, l.others)
		s.defs[d.Tenant] = d.Metrics
		rules = append(rules, d.Rules...)
	}
	for _, n := range s.rules.SetRules(rules) {
		s.rules.Loaded(n.RuleID)
	}
	return s
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWorker takes log messages from decoding to a commit that a store has taken, in commits of 8000 events.
func BenchmarkWorker(b *testing.B) {
	for _, l := range []load{{50, 1000, 1, 0}, {50, 1000, 50, 0}, {50, 100, 10, 0}, {50, 10, 10, 0}} {
		b.Run(fmt.Sprintf("%d/tenants=%d", l.size, l.perMessage), func(b *testing.B) { l.run(b) })
	}
}

// BenchmarkWorkerOthers is the same beside metrics that are about other events.
func BenchmarkWorkerOthers(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { load{5, 1000, 1, n}.run(b) })
	}
}

func (l load) run(b *testing.B) {
	k := &taking{}
	s := l.session(b, k)
	messages := l.messages(time.Now(), max(50, 50_000/l.size))
	seq := uint64(0)
	step := func() {
		m := &messages[seq%uint64(len(messages))]
		seq++
		m.renew(seq)
		s.message(bus.Message{Seq: seq, Payload: m.payload})
		if int(seq)*l.size/8000 != int(seq-1)*l.size/8000 {
			s.commit(b.Context())
			if err := s.settle(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range len(messages) {
		step()
	}
	from := k.events
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used := cpu()
	b.ResetTimer()
	for range b.N {
		step()
	}
	b.StopTimer()
	used = cpu() - used
	runtime.ReadMemStats(&after)
	_ = s.flush(b.Context())
	n := float64(b.N * l.size)
	if k.events-from < b.N*l.size {
		b.Fatalf("%d events were committed, not %d", k.events-from, b.N*l.size)
	}
	b.ReportMetric(float64(used.Nanoseconds())/n, "cpu-ns/event")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/event")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/event")
	b.ReportMetric(float64(k.deltas)/float64(k.events), "deltas/event")
}

// stored are events of the load as a worker has them, decoded.
func (l load) stored(tb testing.TB) (all []event.Stored) {
	tb.Helper()
	for _, m := range l.messages(time.Unix(1_800_000_000, 0), 1) {
		var d event.Decoder
		if err := d.Decode(m.payload, func(ev event.Stored) error { all = append(all, ev); return nil }); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// BenchmarkAggregate is one event's way through four metrics into the cells of its seconds, and the rollups of a batch.
func BenchmarkAggregate(b *testing.B) {
	s := load{tenants: 1}.session(b, &taking{})
	events := load{1, 1000, 1, 0}.stored(b)
	r := newRollups(s.bound)
	b.ReportAllocs()
	for i := range b.N {
		ev := &events[i%len(events)]
		if err := s.aggregate.add(ev, s.plan(ev)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			r.add(s.aggregate.cells)
			s.aggregate.begin()
		}
		if i%8000 == 7999 {
			r.take()
			r.begin()
		}
	}
}

// BenchmarkRules is a delta's way to the rules about its metric, and what an evaluation after a message costs for it.
func BenchmarkRules(b *testing.B) {
	s := load{tenants: 50}.session(b, &taking{})
	events := load{50, 1000, 50, 0}.stored(b)
	for i := range events {
		if err := s.aggregate.add(&events[i], s.plan(&events[i])); err != nil {
			b.Fatal(err)
		}
	}
	deltas := s.aggregate.deltas()
	now := time.Unix(1_800_000_001, 0)
	b.ReportAllocs()
	for i := range b.N {
		k := i % len(deltas)
		s.watch(s.aggregate.cells[k].of.table, &deltas[k])
		if k%100 == 99 {
			now = now.Add(time.Millisecond)
			s.rules.Evaluate(now, true)
		}
	}
}

// BenchmarkHeldSeries is what a worker holds of each of 100 000 series of two dimensions: known only; and with one value in the batch
// in hand.
func BenchmarkHeldSeries(b *testing.B) {
	const many = 100_000
	for range b.N {
		var start, learnt, filled runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&start)
		bd := newBound(many, func(tenant.ID, int64) {})
		t, _ := bd.table("t", 1, 2)
		for i := range many {
			bd.learn(t, series.Labels{fmt.Sprint("customer_", i), "succeeded"})
		}
		runtime.GC()
		runtime.ReadMemStats(&learnt)
		agg, r := newAggregator(bd), newRollups(bd)
		for i := range many {
			k := bd.admit(t, series.Labels{fmt.Sprint("customer_", i), "succeeded"}.AppendKey(nil))
			agg.cell(k, 1_800_000_000).agg.Add(series.Observation{Value: float64(i), Numeric: true, Distinct: uint64(i), HasDistinct: true})
			if i%1000 == 999 {
				r.add(agg.cells)
				agg.begin()
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&filled)
		b.ReportMetric(float64(learnt.HeapAlloc-start.HeapAlloc)/many, "B/known")
		b.ReportMetric(float64(filled.HeapAlloc-start.HeapAlloc)/many, "B/filled")
		runtime.KeepAlive(bd)
		runtime.KeepAlive(r)
		runtime.KeepAlive(agg)
	}
}
