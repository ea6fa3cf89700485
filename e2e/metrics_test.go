package e2e

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// sale is an event that the tests of metrics are about.
type sale struct {
	at             time.Time
	country, brand string
	amount         float64
	live           bool
	customer       int
}

// salesOf makes sales in the hours before the present day, many of them in its last hour.
func salesOf(n int) (sales []sale, day time.Time) {
	random := rand.New(rand.NewPCG(1, 2))
	day = time.Now().UTC().Truncate(24 * time.Hour)
	countries, brands := []string{"US", "US", "US", "DE", "DE", "FR", "JP"}, []string{"visa", "mastercard", "amex"}
	for i := range n {
		back := time.Duration(random.Int64N(int64(60 * time.Hour)))
		if i%2 == 0 {
			back = time.Duration(random.Int64N(int64(time.Hour)))
		}
		sales = append(sales, sale{at: day.Add(-time.Millisecond - back).Truncate(time.Millisecond), country: countries[random.IntN(len(countries))], brand: brands[random.IntN(len(brands))],
			amount: float64(random.IntN(100_000)) / 4, live: random.IntN(10) > 0, customer: random.IntN(200)})
	}
	return sales, day
}

func (s *server) sendSales(sales []sale) {
	s.t.Helper()
	batch := make([]client.Event, 0, len(sales))
	for i := range sales {
		e := &sales[i]
		batch = append(batch, client.Event{Source: "shop", Type: "charge.succeeded", Subject: fmt.Sprintf("customer-%d", e.customer), Time: &e.at, Data: map[string]any{
			"amount": e.amount * 100, "livemode": e.live, "customer": e.customer, "card": map[string]string{"country": e.country, "brand": e.brand}}})
	}
	s.send(batch...)
}

func revenue() client.Metric {
	return client.Metric{Slug: "revenue", Name: "Revenue", Unit: "usd", EventTypes: []string{"charge.succeeded"}, Filter: "data.livemode == true", Value: "data.amount / 100.0",
		Dimensions: map[string]string{"country": "data.card.country", "brand": "data.card.brand"}}
}

// reference computes what a metric's query must answer, in the plainest way.
type reference struct {
	agg    string
	values []float64
	at     []time.Time
}

func (r *reference) add(e *sale) {
	r.values = append(r.values, e.amount)
	r.at = append(r.at, e.at)
}

// accepts says whether got is the aggregate over a span. Quantiles may be off by 1 % of the values beside their rank.
func (r *reference) accepts(got *float64, span time.Duration) error {
	n := float64(len(r.values))
	exact := func(want float64) error {
		if got == nil || math.Abs(*got-want) > 1e-9*math.Max(1, math.Abs(want)) {
			return fmt.Errorf("%s, want %v", show(got), want)
		}
		return nil
	}
	switch r.agg {
	case "count":
		return exact(n)
	case "rate":
		return exact(n / span.Seconds())
	case "unique":
		different := map[float64]bool{}
		for _, v := range r.values {
			different[v] = true
		}
		if want := float64(len(different)); got == nil || math.Abs(*got-want) > 0.03*want {
			return fmt.Errorf("%s, want %v", show(got), want)
		}
		return nil
	}
	if n == 0 {
		if got != nil {
			return fmt.Errorf("%v of nothing", *got)
		}
		return nil
	}
	sum := 0.0
	last := 0
	for i, v := range r.values {
		sum += v
		if r.at[i].After(r.at[last]) || r.at[i].Equal(r.at[last]) && v > r.values[last] {
			last = i
		}
	}
	switch r.agg {
	case "sum":
		return exact(sum)
	case "avg":
		return exact(sum / n)
	case "min":
		return exact(slices.Min(r.values))
	case "max":
		return exact(slices.Max(r.values))
	case "last":
		return exact(r.values[last])
	}
	q := map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}[r.agg]
	sorted := slices.Sorted(slices.Values(r.values))
	rank := q * (n - 1)
	low, high := sorted[int(math.Floor(rank))], sorted[int(math.Min(n-1, math.Ceil(rank)+1))]
	if got == nil || *got < low*0.989 || *got > high*1.011 {
		return fmt.Errorf("%s, want %v to %v", show(got), low, high)
	}
	return nil
}

func show(v *float64) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(*v)
}

// wantAnswer checks every point and total of a query of the metric revenue without group_by.
func wantAnswer(t *testing.T, r client.QueryResult, q client.Query, step time.Duration, sales []sale) {
	t.Helper()
	name := fmt.Sprintf("%s at %s from %s to %s", q.Agg, q.Step, q.From, q.To)
	if len(r.Series) != 1 || r.Metric != "revenue" || r.Agg != q.Agg || r.Step != q.Step || !r.From.Equal(q.From) || !r.To.Equal(q.To) {
		t.Fatalf("%s: answer %+v", name, r)
	}
	start := func(at time.Time) int64 { return at.UnixMilli() - at.UnixMilli()%step.Milliseconds() }
	total := reference{agg: q.Agg}
	steps := map[int64]*reference{}
	for i := range sales {
		e := &sales[i]
		if e.live && !e.at.Before(q.From) && e.at.Before(q.To) {
			total.add(e)
			if steps[start(e.at)] == nil {
				steps[start(e.at)] = &reference{agg: q.Agg}
			}
			steps[start(e.at)].add(e)
		}
	}
	want := start(q.From)
	for _, p := range r.Series[0].Points {
		if p.Time.UnixMilli() != want {
			t.Fatalf("%s: a point at %s, want %s", name, p.Time, time.UnixMilli(want).UTC())
		}
		at := steps[want]
		if at == nil {
			at = &reference{agg: q.Agg}
		}
		if err := at.accepts(p.Value, step); err != nil {
			t.Errorf("%s: the point of %s is %v", name, p.Time, err)
		}
		want += step.Milliseconds()
	}
	if last := start(q.To.Add(-1)) + step.Milliseconds(); want != last {
		t.Errorf("%s: points end at %s, want %s", name, time.UnixMilli(want).UTC(), time.UnixMilli(last).UTC())
	}
	if err := total.accepts(r.Series[0].Total, q.To.Sub(q.From)); err != nil {
		t.Errorf("%s: the total is %v", name, err)
	}
}

func TestAMetricIsFilledFromStoredEventsAndAnswersEveryQuestion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sales, day := salesOf(6000)
	s.sendSales(sales[:4000])
	s.send(client.Event{Type: "charge.failed", Data: map[string]any{"amount": 1e9, "livemode": true}}, client.Event{Type: "charge.succeeded"},
		client.Event{Type: "charge.succeeded", Data: map[string]any{"livemode": true, "amount": "a lot"}}) // none of them is an observation
	s.waitForEvents(client.EventQuery{Type: "charge.*"}, 4003)
	made, err := s.PutMetric(t.Context(), revenue())
	if err != nil || made.Fill == nil {
		t.Fatalf("%+v, %v", made, err)
	}
	s.sendSales(sales[4000:])
	s.waitForFill("revenue")
	s.waitForEvents(client.EventQuery{Type: "charge.*"}, 6003)

	all := client.Query{Metric: "revenue", From: day.Add(-72 * time.Hour), To: day}
	hour := client.Query{Metric: "revenue", From: day.Add(-time.Hour), To: day}
	odd := client.Query{Metric: "revenue", From: day.Add(-25*time.Hour - 17*time.Minute - 3*time.Second - 250*time.Millisecond), To: day.Add(-13*time.Minute - 30*time.Second - time.Millisecond)}
	for _, agg := range []string{"count", "sum", "avg", "min", "max", "last", "unique", "rate", "p50", "p90", "p95", "p99"} {
		for _, c := range []struct {
			q    client.Query
			step string
			d    time.Duration
		}{
			{hour, "1s", time.Second}, {hour, "10s", 10 * time.Second}, {hour, "1m", time.Minute}, {all, "5m", 5 * time.Minute}, {all, "1h", time.Hour}, {all, "6h", 6 * time.Hour}, {all, "1d", 24 * time.Hour},
			{all, "7m", 7 * time.Minute}, {odd, "1m", time.Minute}, {odd, "1h", time.Hour}, {odd, "1d", 24 * time.Hour}, {odd, "90s", 90 * time.Second},
		} {
			c.q.Agg, c.q.Step = agg, c.step
			r, err := s.Query(t.Context(), c.q)
			if err != nil {
				t.Fatalf("%s at %s: %v", agg, c.step, err)
			}
			wantAnswer(t, r, c.q, c.d, sales)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Run("group_by, where, limit, other", func(t *testing.T) { testSplitting(t, s.with(t), all, sales) })
	t.Run("defaults", func(t *testing.T) { testDefaults(t, s.with(t)) })
	s.wantNoErrors()
}

// salesBy sums sales by a label.
func salesBy(sales []sale, label func(*sale) string) map[string]float64 {
	out := map[string]float64{}
	for i := range sales {
		if name := label(&sales[i]); sales[i].live && name != "" {
			out[name] += sales[i].amount
		}
	}
	return out
}

// near compares totals up to floating-point rounding.
func near(a, b map[string]float64) bool {
	return maps.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= 1e-6*math.Max(1, math.Abs(x)) })
}

func testSplitting(t *testing.T, s *server, all client.Query, sales []sale) {
	ask := func(change func(*client.Query)) client.QueryResult {
		t.Helper()
		q := all
		q.Agg, q.Step = "sum", "1h"
		change(&q)
		r, err := s.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(r.Series); i++ {
			other := r.Series[i].Labels[client.Other] != ""
			if !other && *r.Series[i].Total > *r.Series[i-1].Total {
				t.Errorf("series %d is larger than the one before it", i)
			}
		}
		return r
	}
	byCountry := salesBy(sales, func(e *sale) string { return e.country })
	if got := ask(func(q *client.Query) { q.GroupBy = []string{"country"} }).Totals("country"); !near(got, byCountry) {
		t.Errorf("by country %v, want %v", got, byCountry)
	}
	both := map[string]float64{}
	for _, series := range ask(func(q *client.Query) { q.GroupBy = []string{"country", "brand"} }).Series {
		both[series.Labels["country"]+"/"+series.Labels["brand"]] = *series.Total
	}
	if want := salesBy(sales, func(e *sale) string { return e.country + "/" + e.brand }); !near(both, want) {
		t.Errorf("by country and brand %v, want %v", both, want)
	}
	where := ask(func(q *client.Query) {
		q.GroupBy, q.Where = []string{"country"}, map[string][]string{"brand": {"visa", "amex"}, "country": {"DE", "FR", "XX"}}
	}).Totals("country")
	if want := salesBy(sales, func(e *sale) string {
		if e.brand == "mastercard" || e.country != "DE" && e.country != "FR" {
			return ""
		}
		return e.country
	}); !near(where, want) {
		t.Errorf("where brand and country: %v, want %v", where, want)
	}
	folded := ask(func(q *client.Query) { q.GroupBy, q.Limit = []string{"country"}, 2 })
	if len(folded.Series) != 3 || folded.Series[0].Labels["country"] != "US" || folded.Series[1].Labels["country"] != "DE" || !maps.Equal(folded.Series[2].Labels, map[string]string{client.Other: "true"}) {
		t.Errorf("with a limit: %+v", folded.Series)
	} else if got, want := *folded.Series[2].Total, byCountry["FR"]+byCountry["JP"]; math.Abs(got-want) > 1e-6 {
		t.Errorf("the rest is %v, want %v", got, want)
	}
	if r := ask(func(q *client.Query) { q.GroupBy, q.Limit, q.NoOther = []string{"country"}, 2, true }); len(r.Series) != 2 {
		t.Errorf("without the rest: %d series", len(r.Series))
	}
	if r := ask(func(q *client.Query) {
		q.GroupBy, q.Where = []string{"country"}, map[string][]string{"brand": {"none"}}
	}); len(r.Series) != 0 {
		t.Errorf("where nothing is: %+v", r.Series)
	}
	if r := ask(func(q *client.Query) { q.Agg, q.Where = "count", map[string][]string{"brand": {"none"}} }); len(r.Series) != 1 || *r.Series[0].Total != 0 {
		t.Errorf("where nothing is, not grouped: %+v", r.Series)
	}
}

func testDefaults(t *testing.T, s *server) {
	r, err := s.Query(t.Context(), client.Query{Metric: "revenue"})
	if err != nil || r.Agg != "sum" || r.Unit != "usd" || r.Step != "1m" || len(r.Series) != 1 || r.To.Sub(r.From) < time.Hour || r.To.Sub(r.From) > time.Hour+time.Minute {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = s.Query(t.Context(), client.Query{Metric: "events"}); err != nil || r.Agg != "count" || r.Unit != "events" {
		t.Errorf("%+v, %v", r, err)
	}
	from := time.Now().Add(-11_000 * time.Second).Truncate(time.Second)
	if r, err = s.Query(t.Context(), client.Query{Metric: "revenue", Step: "1s", From: from, To: from.Add(11_000 * time.Second)}); err != nil || len(r.Series[0].Points) != 11_000 {
		t.Errorf("11 000 points: %v", err)
	}
	if _, err = s.Query(t.Context(), client.Query{Metric: "revenue", Step: "1s", From: from, To: from.Add(11_001 * time.Second)}); client.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("11 001 points: %v", err)
	}
}

func TestAMetricThatIsChangedIsComputedAnew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sales, day := salesOf(2000)
	s.sendSales(sales)
	m, err := s.PutMetric(t.Context(), revenue())
	if err != nil {
		t.Fatal(err)
	}
	total := func(want float64) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			r, err := s.Query(t.Context(), client.Query{Metric: "revenue", Agg: "sum", Step: "1d", From: day.Add(-72 * time.Hour), To: day})
			if err == nil && (len(r.Series) != 1 || r.Series[0].Total == nil || math.Abs(*r.Series[0].Total-want) > 1e-6) {
				err = fmt.Errorf("%+v, want %v", r.Series, want)
			}
			return err
		})
	}
	live := salesBy(sales, func(*sale) string { return "all" })["all"]
	total(live)
	m.Name, m.Description = "Money", "Renamed only"
	if m, err = s.PutMetric(t.Context(), m); err != nil || m.Name != "Money" || m.Fill.State != "done" {
		t.Errorf("renamed: %+v, %v", m, err)
	}
	total(live)
	m.Value = "data.amount / 50.0"
	if _, err = s.PutMetric(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	s.waitForFill("revenue")
	total(2 * live)
	s.stop()
	s.start()
	total(2 * live)
	s.wantNoErrors()
}

func TestManySeriesAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "wide", EventTypes: []string{"wide"}, Dimensions: map[string]string{"subject": "subject"}}); err != nil {
		t.Fatal(err)
	}
	const n = 6000
	batch := make([]client.Event, n)
	for i := range batch {
		batch[i] = client.Event{Type: "wide", Subject: fmt.Sprintf("s%d", i)}
	}
	s.send(batch...)
	s.send(batch[:2000]...)
	check := func() {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			r, err := s.Query(t.Context(), client.Query{Metric: "wide", GroupBy: []string{"subject"}, Limit: 1000, Agg: "count"})
			if err != nil {
				return err
			}
			if len(r.Series) != 1001 || r.Series[1000].Labels[client.Other] != "true" {
				return fmt.Errorf("%d series", len(r.Series))
			}
			total := 0.0
			for _, series := range r.Series {
				total += *series.Total
			}
			if total != n+2000 {
				return fmt.Errorf("all series count %v, want %d", total, n+2000)
			}
			return nil
		})
	}
	check()
	s.kill()
	s.start()
	check()
	s.wantNoErrors()
}
