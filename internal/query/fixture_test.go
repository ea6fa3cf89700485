package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const acme, rival tenant.ID = "acme", "rival"

// openStore opens a real store that lives as long as the test.
func openStore(t testing.TB) store.Events {
	t.Helper()
	s, err := duckdb.Open(context.Background(), duckdb.Config{Path: filepath.Join(t.TempDir(), "events.duckdb")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func compile(t testing.TB, def metric.Definition) *metric.Program {
	t.Helper()
	p, err := metric.Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// writer commits events with their rollups as the stream does: partial ones of each batch, for every resolution.
type writer struct {
	t        testing.TB
	events   store.Events
	programs map[tenant.ID][]*metric.Program
	offset   store.Offset
}

func (w *writer) commit(evs []event.Stored) {
	w.t.Helper()
	type key struct {
		tenant tenant.ID
		metric int64
		step   time.Duration
		start  int64
		labels string
	}
	index := map[key]*series.Rollup{}
	var doc metric.Doc
	for i := range evs {
		ev := &evs[i]
		doc.Reset(&ev.Event)
		for _, p := range w.programs[ev.Tenant] {
			if !p.MatchesType(ev.Type) {
				continue
			}
			labels, o, ok := p.Observe(&doc)
			if !ok {
				continue
			}
			for _, step := range series.Resolutions()[:1] { // others are made of it
				start := series.Align(o.At, step)
				k := key{ev.Tenant, p.Definition().ID, step, start.Unix(), labels.Key()}
				if index[k] == nil {
					index[k] = &series.Rollup{Tenant: ev.Tenant, Metric: k.metric, Labels: labels, Step: step, Start: start}
				}
				index[k].Agg.Add(o)
			}
		}
	}
	rollups := make([]series.Rollup, 0, len(index))
	for _, r := range index {
		rollups = append(rollups, *r)
	}
	w.commitRollups(evs, rollups)
}

func (w *writer) commitRollups(evs []event.Stored, rollups []series.Rollup) {
	w.t.Helper()
	to := store.Offset{Incarnation: "i", Seq: w.offset.Seq + 1}
	for i := range evs {
		evs[i].Position = event.Position{Seq: to.Seq, Index: uint32(i)}
	}
	var err error
	w.offset, err = w.events.Commit(context.Background(), &store.Commit{From: w.offset, To: to, Events: evs, Rollups: rollups})
	if err != nil {
		w.t.Fatal(err)
	}
}

// sale is an event as the tests know it, apart from how it is stored.
type sale struct {
	tenant   tenant.ID
	at       time.Time
	typ      string
	source   string
	customer string
	country  string
	brand    string
	amount   float64
	live     bool
}

func (s *sale) event(i int) event.Stored {
	data := fmt.Sprintf(`{"amount": %v, "country": %q, "brand": %q, "customer": %q, "live": %t}`, s.amount, s.country, s.brand, s.customer, s.live)
	return event.Stored{Tenant: s.tenant, Event: event.Event{
		ID: fmt.Sprint(i), Source: s.source, Type: s.typ, Subject: s.customer, Time: s.at, Received: s.at.Add(time.Second), Data: []byte(data), Identified: true,
	}}
}

// begin is when the sales begin: a whole day.
func begin() time.Time { return at("2026-03-04T00:00:00Z") }

// sales are some thousand over three days, most of them within two busy hours, some at the very edge of steps, some twice at the
// same instant.
func sales(rng *rand.Rand, n int) []sale {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	all := make([]sale, 0, n)
	for i := range n {
		s := sale{
			tenant: acme, at: begin().Add(time.Duration(rng.Int64N(int64(72 * time.Hour)))), typ: pick("charge.succeeded", "charge.succeeded", "charge.failed", "payout.paid"),
			source: pick("stripe", "stripe", "shop"), customer: fmt.Sprint("c", rng.IntN(150)), country: pick("DE", "US", "FR", "IT", "ES", "PT", ""), brand: pick("visa", "amex", "a:b"),
			amount: float64(rng.Int64N(2_000_000)-200_000) / 97, live: rng.IntN(10) > 0,
		}
		if rng.IntN(3) > 0 {
			s.at = begin().Add(30*time.Hour + time.Duration(rng.Int64N(int64(2*time.Hour))))
		}
		switch rng.IntN(12) {
		case 0:
			s.at = s.at.Truncate(time.Minute)
		case 1:
			s.at = s.at.Truncate(time.Hour)
		case 2:
			s.at = s.at.Truncate(time.Minute).Add(-time.Nanosecond)
		case 3:
			if i > 0 {
				s.at = all[i-1].at
			}
		case 4:
			s.tenant = rival
		}
		all = append(all, s)
	}
	return all
}

// sellers are the metrics of the sales: one with numbers, one with texts, one without a value, and the built-in one.
func sellers() []metric.Definition {
	return []metric.Definition{
		{ID: 11, Slug: "revenue", Unit: "usd", EventTypes: []string{"charge.*"}, Filter: "data.live == true", Value: "data.amount", Dimensions: map[string]string{"country": "data.country", "brand": "data.brand"}},
		{ID: 12, Slug: "customers", EventTypes: []string{"charge.succeeded", "charge.failed"}, Value: "data.customer", Dimensions: map[string]string{"country": "data.country"}},
		{ID: 13, Slug: "payouts", Unit: "payouts", EventTypes: []string{"payout.paid"}},
		metric.Events(acme),
	}
}

// observe tells from the sale itself, not from the event, what it adds to the metric: its labels by name, and its value.
func (s *sale) observe(slug string) (labels map[string]string, value float64, ok bool) {
	charge := s.typ != "payout.paid"
	switch slug {
	case "revenue":
		return map[string]string{"country": s.country, "brand": s.brand}, s.amount, charge && s.live
	case "customers":
		return map[string]string{"country": s.country}, 0, charge
	case "payouts":
		return nil, 0, !charge
	}
	return map[string]string{"source": s.source, "type": s.typ}, 0, true
}
