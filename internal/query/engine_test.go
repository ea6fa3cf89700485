package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// shop is a store with one metric, "visits", of the dimension page, and the value seconds.
type shop struct {
	*writer
	visits *metric.Program
	engine *Engine
	n      int
}

func openShop(t testing.TB) *shop {
	visits := compile(t, metric.Definition{
		ID: 21, Slug: "visits", Unit: "s", EventTypes: []string{"visit"}, Value: "data.seconds", Dimensions: map[string]string{"page": "data.page"},
	})
	events := openStore(t)
	return &shop{
		writer: &writer{t: t, events: events, programs: map[tenant.ID][]*metric.Program{acme: {visits, compile(t, metric.Events(acme))}}},
		visits: visits, engine: &Engine{Events: events},
	}
}

// visit is an event on the page, at a time such as "10:00:30".
func (s *shop) visit(clock, page string, seconds float64) event.Stored {
	s.n++
	return event.Stored{Tenant: acme, Event: event.Event{
		ID: fmt.Sprint(s.n), Source: "web", Type: "visit", Time: at("2026-03-04T" + clock + "Z"), Received: at("2026-03-04T" + clock + "Z"),
		Data: fmt.Appendf(nil, `{"page": %q, "seconds": %v}`, page, seconds), Identified: true,
	}}
}

func (s *shop) ask(query string) Result {
	s.t.Helper()
	q, errs := Parse(values(query), s.visits.Definition(), at("2026-03-04T10:05:30Z"))
	if errs != nil {
		s.t.Fatal(errs)
	}
	r, err := s.engine.Run(context.Background(), acme, s.visits, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

const fiveMinutes = "from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z&step=1m"

func TestAnAnswerIsTheContractsJSON(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:00:00", "home", 12.5), s.visit("10:00:59.999999999", "home", 2), s.visit("10:02:00", "help", 0.25), s.visit("10:05:00", "home", 99)})
	for _, c := range []struct{ query, want string }{
		{"from=2026-03-04T10:00:00Z&to=2026-03-04T10:03:00Z&step=1m&group_by=page",
			`{"metric":"visits","agg":"sum","unit":"s","from":"2026-03-04T10:00:00Z","to":"2026-03-04T10:03:00Z","step":"1m","series":[` +
				`{"labels":{"page":"home"},"points":[[1772618400000,14.5],[1772618460000,null],[1772618520000,null]],"total":14.5},` +
				`{"labels":{"page":"help"},"points":[[1772618400000,null],[1772618460000,null],[1772618520000,0.25]],"total":0.25}]}`},
		{"from=2026-03-04T10:00:00.000000001Z&to=2026-03-04T10:02:00Z&step=60s&agg=count&where=page:home",
			`{"metric":"visits","agg":"count","unit":"events","from":"2026-03-04T10:00:00.000000001Z","to":"2026-03-04T10:02:00Z","step":"1m","series":[` +
				`{"labels":{},"points":[[1772618400000,1],[1772618460000,0]],"total":1}]}`},
		{"from=2026-03-04T10:00:00Z&to=2026-03-04T10:01:00Z&step=30s&agg=rate",
			`{"metric":"visits","agg":"rate","unit":"events/s","from":"2026-03-04T10:00:00Z","to":"2026-03-04T10:01:00Z","step":"30s","series":[` +
				`{"labels":{},"points":[[1772618400000,0.03333333333333333],[1772618430000,0.03333333333333333]],"total":0.03333333333333333}]}`},
		{"from=2026-03-04T08:00:00Z&to=2026-03-04T08:01:00Z&step=1m&agg=max",
			`{"metric":"visits","agg":"max","unit":"s","from":"2026-03-04T08:00:00Z","to":"2026-03-04T08:01:00Z","step":"1m","series":[` +
				`{"labels":{},"points":[[1772611200000,null]],"total":null}]}`},
		{"from=2026-03-04T08:00:00Z&to=2026-03-04T08:01:00Z&step=1m&agg=unique&group_by=page",
			`{"metric":"visits","agg":"unique","unit":"values","from":"2026-03-04T08:00:00Z","to":"2026-03-04T08:01:00Z","step":"1m","series":[]}`},
	} {
		got, err := json.Marshal(s.ask(c.query))
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", c.query, got, err, c.want)
		}
	}
}

func TestSeriesBeyondTheLimitFoldIntoOne(t *testing.T) {
	s := openShop(t)
	var evs []event.Stored
	for i, page := range []string{"a", "b", "c", "d", "e"} {
		for j := range 5 - i {
			evs = append(evs, s.visit(fmt.Sprintf("10:0%d:30", j), page, float64(10*i+j)))
		}
	}
	s.commit(evs)
	got := s.ask(fiveMinutes + "&agg=p99&group_by=page&limit=2")
	var labels []string
	for _, x := range got.Series {
		labels = append(labels, fmt.Sprint(x.Labels, *x.Total))
	}
	// The rest has 0 to 4, 10 to 13, 20 to 22: by rank, the 99th percentile of twelve is the eleventh, 21, within the sketch's percent.
	if len(labels) != 3 || !strings.HasPrefix(labels[2], "map[__other__:true] 21.") || !strings.HasPrefix(labels[0], "map[page:e] 40") {
		t.Errorf("got %v", labels)
	}
	if p := got.Series[2].Points[0]; p.Value < 9.9 || p.Value > 10.1 {
		t.Errorf("the second of 0, 10, 20, from merged sketches: got %v", p)
	}
	if got := s.ask(fiveMinutes + "&group_by=page&limit=2&other=false"); len(got.Series) != 2 {
		t.Errorf("other=false leaves the rest out: got %v", got.Series)
	}
	if got := s.ask(fiveMinutes + "&group_by=page&limit=5"); len(got.Series) != 5 {
		t.Errorf("with room for all there is no rest: got %v", got.Series)
	}
}

func TestTheStoredOverflowIsPartOfTheRest(t *testing.T) {
	s := openShop(t)
	add := func(page string, count uint64) {
		r := series.Rollup{Tenant: acme, Metric: 21, Labels: series.Labels{page}, Step: time.Minute, Start: at("2026-03-04T10:01:00Z")}
		for range count {
			r.Agg.Add(series.Observation{At: r.Start, Value: 1, Numeric: true})
		}
		s.commitRollups(nil, []series.Rollup{r})
	}
	add("a", 5)
	add("b", 3)
	add(series.OtherValue, 100)
	for query, want := range map[string]string{
		"&group_by=page":                      "[map[page:a] 5 map[page:b] 3 map[__other__:true] 100]",
		"&group_by=page&limit=1":              "[map[page:a] 5 map[__other__:true] 103]",
		"&group_by=page&limit=1&other=false":  "[map[page:a] 5]",
		"":                                    "[map[] 108]",
		"&where=page:a":                       "[map[] 5]",
		"&where=page:__other__&group_by=page": "[map[__other__:true] 100]",
	} {
		for _, scalars := range []int{1000, 1} {
			limits := defaultLimits()
			limits.scalars = scalars
			s.engine.limits = &limits
			var got []any
			for _, x := range s.ask(fiveMinutes + "&agg=count" + query).Series {
				got = append(got, x.Labels, *x.Total)
			}
			if fmt.Sprint(got) != want {
				t.Errorf("%q, %d at a time: got %v, want %s", query, scalars, got, want)
			}
		}
	}
}

func TestAnOpenEndTakesTheCurrentMinuteWhole(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:05:10", "home", 1), s.visit("10:05:50", "home", 1)}) // now is 10:05:30
	open := s.ask("agg=count")
	last := open.Series[0].Points[len(open.Series[0].Points)-1]
	if last.Value != 2 || !open.To.Equal(at("2026-03-04T10:05:30Z")) || last.UnixMS != at("2026-03-04T10:05:00Z").UnixMilli() {
		t.Errorf("got %v to %v", last, open.To)
	}
	if named := s.ask("agg=count&to=2026-03-04T10:05:30Z"); *named.Series[0].Total != 1 {
		t.Errorf("a named end is exact: got %v", *named.Series[0].Total)
	}
}

func TestQuestionsThatAreTooMuchAreRefusedWithAdvice(t *testing.T) {
	s := openShop(t)
	var evs []event.Stored
	for i := range 50 {
		evs = append(evs, s.visit(fmt.Sprintf("10:0%d:30", i%5), fmt.Sprint("page", i), 1))
	}
	s.commit(evs)
	wide := limits{points: 1000, scanned: 1000, rawGroups: 1000, scalars: 5, sketches: 5, kept: 100}
	with := func(change func(*limits)) *limits { l := wide; change(&l); return &l }
	for _, c := range []struct {
		name, query, says string
		limits            *limits
		run, aggregates   bool // refused
	}{
		{"enough of everything", "&step=1s&group_by=page&limit=1", "", &wide, false, false},
		{"too many events", "&step=1s", "whole minutes", with(func(l *limits) { l.scanned = 49 }), true, true},
		{"as many events as allowed", "&step=1s", "", with(func(l *limits) { l.scanned = 50 }), false, false},
		{"too many points", "&step=1m&group_by=page", "at most 99 points", with(func(l *limits) { l.points = 99 }), true, false},
		{"too many series to rank", "&step=1m&group_by=page", "fewer dimensions", with(func(l *limits) { l.kept = 49 }), true, true},
		{"too many aggregates to keep", "&step=1s&group_by=page&limit=50", "more than 50 points", with(func(l *limits) { l.kept = 50; l.scalars = 40; l.points = 1e6 }), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.engine.limits = c.limits
			q, errs := Parse(values("from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z"+c.query), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
			if errs != nil {
				t.Fatal(errs)
			}
			check := func(what string, err error, refused bool) {
				var limit *LimitError
				if errors.As(err, &limit) != refused || err != nil && (!refused || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("%s: got %v, want it refused: %v, with %q", what, err, refused, c.says)
				}
			}
			_, err := s.engine.Run(context.Background(), acme, s.visits, q)
			check("Run", err, c.run)
			_, err = s.engine.Aggregates(context.Background(), acme, s.visits, q)
			check("Aggregates", err, c.aggregates)
		})
	}
}

func TestRawEventsOfTooManyGroupsFold(t *testing.T) {
	s := openShop(t)
	var evs []event.Stored
	for i := range 30 {
		evs = append(evs, s.visit(fmt.Sprintf("10:00:%02d", i), fmt.Sprint("page", i), 1))
	}
	s.commit(evs)
	limits := defaultLimits()
	limits.rawGroups = 10
	s.engine.limits = &limits
	got := s.ask("from=2026-03-04T10:00:00Z&to=2026-03-04T10:01:00Z&step=1s&agg=count&group_by=page&limit=100")
	if n := len(got.Series); n != 11 || *got.Series[10].Total != 20 {
		t.Errorf("got %d series", n)
	}
}

func TestTheEndOfTheContextEndsAQuery(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:00:00", "home", 1)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	q, _ := Parse(values(fiveMinutes), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
	if _, err := s.engine.Run(ctx, acme, s.visits, q); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAggregatesFinishToWhatRunAnswersAndTakeLaterObservations(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := openShop(t)
	var evs []event.Stored
	for range 400 {
		evs = append(evs, s.visit(fmt.Sprintf("10:0%d:%02d", rng.IntN(5), rng.IntN(60)), string(rune('a'+rng.IntN(6))), float64(rng.IntN(1000))))
	}
	s.commit(evs)
	tiny := limits{points: 1e6, scanned: 1e6, rawGroups: 100, scalars: 5, sketches: 5, kept: 1000}
	for _, query := range []string{"&agg=p90", "&agg=unique&group_by=page", "&group_by=page&limit=2", "&agg=max&group_by=page&limit=3&other=false&where=page:a&where=page:c", "&where=page:none"} {
		q, errs := Parse(values(fiveMinutes+query), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
		if errs != nil {
			t.Fatal(errs)
		}
		for _, l := range []*limits{nil, &tiny} {
			s.engine.limits = l
			want, err := s.engine.Run(context.Background(), acme, s.visits, q)
			if err != nil {
				t.Fatal(err)
			}
			groups, err := s.engine.Aggregates(context.Background(), acme, s.visits, q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := finish(s.visits.Definition(), q, groups)
			if err == nil {
				err = same(got.Series, want.Series, q.Agg)
			}
			if err != nil {
				t.Errorf("%s: %v", query, err)
			}
		}
	}
	q, _ := Parse(values(fiveMinutes+"&group_by=page&limit=2&agg=count"), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
	s.engine.limits = nil
	groups, err := s.engine.Aggregates(context.Background(), acme, s.visits, q)
	if err != nil || len(groups) != 3 || !groups[2].Other {
		t.Fatalf("got %v, %v", groups, err)
	}
	before, _ := finish(s.visits.Definition(), q, groups)
	groups[0].At(at("2026-03-04T10:03:00Z").UnixMilli()).Add(series.Observation{})
	after, _ := finish(s.visits.Definition(), q, groups)
	if got, want := after.Series[0].Points[3].Value, before.Series[0].Points[3].Value+1; got != want {
		t.Errorf("a later observation counts: got %v, want %v", got, want)
	}
}

func TestGroupKeepsItsStepsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var g Group
	for range 500 {
		g.At(rng.Int64N(50)).Count++
	}
	n := uint64(0)
	for _, s := range g.Steps {
		n += s.Agg.Count
	}
	if !slices.IsSortedFunc(g.Steps, func(a, b Step) int { return int(a.UnixMS - b.UnixMS) }) || len(g.Steps) != 50 || n != 500 {
		t.Errorf("%d steps with %d observations", len(g.Steps), n)
	}
}

func TestProjectFiltersAndProjectsLabels(t *testing.T) {
	for _, c := range []struct {
		groupBy []string
		where   map[string][]string
		labels  series.Labels // brand, country
		want    series.Labels
		ok      bool
	}{
		{nil, nil, series.Labels{"visa", "DE"}, series.Labels{}, true},
		{[]string{"country", "brand"}, nil, series.Labels{"visa", "DE"}, series.Labels{"DE", "visa"}, true},
		{[]string{"brand"}, map[string][]string{"country": {"US", "DE"}}, series.Labels{"visa", "DE"}, series.Labels{"visa"}, true},
		{[]string{"brand"}, map[string][]string{"country": {"US"}}, series.Labels{"visa", "DE"}, nil, false},
		{[]string{"brand"}, map[string][]string{"country": {"DE"}, "brand": {"amex"}}, series.Labels{"visa", "DE"}, nil, false},
	} {
		got, ok := Project(revenue(), c.groupBy, c.where)(c.labels)
		if ok != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v %v %v: got %v %v", c.groupBy, c.where, c.labels, got, ok)
		}
	}
}

func TestPointsAreWrittenAndReadBack(t *testing.T) {
	ps := Points{{1, 0, true}, {2, -0.5, true}, {3, 0, false}, {4, 1 << 53, true}, {5, 1e21, true}, {6, 1e-7, true}, {7, 123456789.125, true}}
	b, err := json.Marshal(ps)
	want := `[[1,0],[2,-0.5],[3,null],[4,9007199254740992],[5,1e+21],[6,1e-07],[7,123456789.125]]`
	if err != nil || string(b) != want {
		t.Fatalf("got %s, %v", b, err)
	}
	var back Points
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, ps) {
		t.Errorf("got %v, %v", back, err)
	}
}

func TestWhatIsNotFiniteIsNoNumber(t *testing.T) {
	var g Group
	for range 2 {
		g.At(0).Add(series.Observation{Value: 1.7e308, Numeric: true})
	}
	q := Query{From: time.Unix(0, 0), To: time.Unix(60, 0), Step: time.Minute, Agg: series.Sum, Limit: 1}
	got, err := finish(revenue(), q, []Group{g})
	if err != nil || got.Series[0].Total != nil || got.Series[0].Points[0].Valid {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

// finish turns aggregates into a result, as Run does.
func finish(def *metric.Definition, q Query, groups []Group) (Result, error) {
	return newRenderer(def, &q).finish(groups)
}
