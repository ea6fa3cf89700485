package query

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

func revenue() *metric.Definition {
	return &metric.Definition{
		ID: 7, Slug: "revenue", Unit: "usd", EventTypes: []string{"charge.succeeded"}, Value: "data.amount",
		Dimensions: map[string]string{"country": "data.country", "brand": "data.brand"},
	}
}

func logins() *metric.Definition {
	return &metric.Definition{ID: 8, Slug: "logins", Unit: "logins", EventTypes: []string{"login"}}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func values(s string) url.Values {
	v, err := url.ParseQuery(s)
	if err != nil {
		panic(err)
	}
	return v
}

func TestParse(t *testing.T) {
	now := at("2026-03-04T10:20:30.5Z")
	base := Query{From: at("2026-03-04T09:20:00Z"), To: now, Open: true, Step: time.Minute, Agg: series.Sum, Limit: 20, Other: true}
	with := func(change func(*Query)) Query { q := base; change(&q); return q }
	fixed := with(func(q *Query) {
		q.From, q.To, q.Open = at("2026-03-01T00:00:00Z"), at("2026-03-02T00:00:00Z"), false
		q.Step = 5 * time.Minute
	})
	for _, c := range []struct {
		name, query string
		want        Query
	}{
		{"the last hour when nothing is said", "", base},
		{"RFC 3339", "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", fixed},
		{"RFC 3339 with an offset", "from=2026-03-01T01:00:00%2B01:00&to=2026-03-02T00:00:00Z", fixed},
		{"a plus that was not escaped", "from=2026-03-01T01:00:00+01:00&to=2026-03-02T00:00:00Z", fixed},
		{"milliseconds since the epoch", "from=1772323200000&to=1772409600000", fixed},
		{"only to", "to=2026-03-01T00:00:30Z", with(func(q *Query) { q.From, q.To, q.Open = at("2026-02-28T23:00:00Z"), at("2026-03-01T00:00:30Z"), false })},
		{"only from", "from=2026-03-04T10:00:00Z", with(func(q *Query) { q.From = at("2026-03-04T10:00:00Z") })},
		{"nanoseconds", "from=2026-03-04T10:00:00.000000001Z", with(func(q *Query) { q.From = at("2026-03-04T10:00:00.000000001Z") })},
		{"a step", "step=90s", with(func(q *Query) { q.Step = 90 * time.Second })},
		{"a step of days", "step=1d", with(func(q *Query) { q.Step = 24 * time.Hour })},
		{"an aggregation", "agg=p99", with(func(q *Query) { q.Agg = series.P99 })},
		{"groups in the order they are named", "group_by=country,brand", with(func(q *Query) { q.GroupBy = []string{"country", "brand"} })},
		{"groups named one by one", "group_by=country&group_by=brand", with(func(q *Query) { q.GroupBy = []string{"country", "brand"} })},
		{"where splits at the first colon, the same dimension means either", "where=brand:a:b&where=brand:c&where=brand:c&where=country:",
			with(func(q *Query) { q.Where = map[string][]string{"brand": {"a:b", "c"}, "country": {""}} })},
		{"limit and other", "limit=3&other=false", with(func(q *Query) { q.Limit, q.Other = 3, false })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, errs := Parse(values(c.query), revenue(), now)
			if len(errs) > 0 || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, errs, c.want)
			}
		})
	}
	if q, errs := Parse(nil, logins(), now); q.Agg != series.Count || len(errs) > 0 {
		t.Errorf("a metric without a value is counted by default: got %s, %v", q.Agg, errs)
	}
}

func TestParseSaysWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	now := at("2026-03-04T10:20:30Z")
	for _, c := range []struct {
		query, location string
		says            []string
		def             *metric.Definition
	}{
		{"from=yesterday", "query.from", []string{`"yesterday" is not a time`, "2026-01-31T09:00:00Z"}, revenue()},
		{"to=1e9", "query.to", []string{"is not a time"}, revenue()},
		{"to=9223372036854775807", "query.to", []string{"out of range"}, revenue()},
		{"from=-9223372036854775807", "query.from", []string{"out of range"}, revenue()},
		{"from=1677-01-01T00:00:00Z", "query.from", []string{"out of range"}, revenue()},
		{"from=2026-03-04T10:20:30Z", "query.from", []string{"is not before to"}, revenue()},
		{"from=2027-03-04T10:20:30Z", "query.from", []string{"is not before to"}, revenue()},
		{"from=2020-01-01T00:00:00Z", "query.from", []string{"at most 400d"}, revenue()},
		{"from=2026-03-01T00:00:00Z&from=2026-03-02T00:00:00Z", "query.from", []string{"2 times"}, revenue()},
		{"step=often", "query.step", []string{"30s, 5m, 1h or 7d"}, revenue()},
		{"step=0s", "query.step", []string{"1s or more"}, revenue()},
		{"step=-1m", "query.step", []string{"1s or more"}, revenue()},
		{"step=500ms", "query.step", []string{"whole seconds"}, revenue()},
		{"step=1.5s", "query.step", []string{"whole seconds"}, revenue()},
		{"step=500d", "query.step", []string{"too long", "400d"}, revenue()},
		{"step=99999d", "query.step", []string{"too long"}, revenue()},
		{"from=2026-03-01T00:00:00Z&step=1s", "query.step", []string{"11000", "30s or more"}, revenue()},
		{"from=2025-03-04T00:00:00Z&step=1m", "query.step", []string{"11000", "1h or more"}, revenue()},
		{"agg=median", "query.agg", []string{"count, sum, avg", "p99"}, revenue()},
		{"agg=avg", "query.agg", []string{`"logins" has no value`, "count, rate or unique"}, logins()},
		{"group_by=city", "query.group_by", []string{`"city"`, "use brand, country"}, revenue()},
		{"group_by=brand,brand", "query.group_by", []string{"twice"}, revenue()},
		{"group_by=brand,", "query.group_by", []string{`""`}, revenue()},
		{"group_by=brand", "query.group_by", []string{"the metric has no dimensions"}, logins()},
		{"where=brand", "query.where", []string{"dimension:value"}, revenue()},
		{"where=city:x", "query.where", []string{`"city"`, "use brand, country"}, revenue()},
		{"limit=0", "query.limit", []string{"1 to 1000"}, revenue()},
		{"limit=1001", "query.limit", []string{"1 to 1000"}, revenue()},
		{"limit=ten", "query.limit", []string{`"ten"`, "1 to 1000"}, revenue()},
		{"other=perhaps", "query.other", []string{"true nor false"}, revenue()},
		{"where=" + manyWheres(201), "query.where", []string{"at most 200"}, revenue()},
	} {
		t.Run(c.query[:min(len(c.query), 60)], func(t *testing.T) {
			_, errs := Parse(values(c.query), c.def, now)
			if len(errs) != 1 || errs[0].Location != c.location {
				t.Fatalf("got %v, want one error at %s", errs, c.location)
			}
			for _, s := range c.says {
				if !strings.Contains(errs[0].Message, s) {
					t.Errorf("%q does not say %q", errs[0].Message, s)
				}
			}
		})
	}
	if _, errs := Parse(values("step=0&agg=x&limit=0&group_by=x"), revenue(), now); len(errs) != 4 {
		t.Errorf("all mistakes are told at once, got %v", errs)
	}
}

func manyWheres(n int) string {
	var all []string
	for i := range n {
		all = append(all, "brand:"+series.Duration(i).String())
	}
	return strings.Join(all, "&where=")
}

func TestAutoStepGivesSome300PointsThatRollupsAnswer(t *testing.T) {
	const m, h, d = time.Minute, time.Hour, 24 * time.Hour
	from := at("2026-03-04T00:00:00Z")
	for _, c := range []struct{ length, want time.Duration }{
		{time.Nanosecond, time.Second}, {m, time.Second}, {5 * m, time.Second}, {6 * m, m}, {h, m}, {5 * h, m}, {6 * h, 2 * m}, {d, 5 * m},
		{7 * d, h}, {30 * d, 3 * h}, {90 * d, 12 * h}, {400 * d, 2 * d},
	} {
		if got := AutoStep(from, from.Add(c.length)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.length, got, c.want)
		}
	}
}

func TestUnitFollowsTheAggregation(t *testing.T) {
	plain := &metric.Definition{Slug: "x"}
	for _, c := range []struct {
		def  *metric.Definition
		agg  series.Kind
		want string
	}{
		{revenue(), series.Sum, "usd"}, {revenue(), series.P95, "usd"}, {revenue(), series.Last, "usd"}, {revenue(), series.Count, "events"},
		{revenue(), series.Rate, "events/s"}, {revenue(), series.Unique, "values"},
		{logins(), series.Count, "logins"}, {logins(), series.Rate, "logins/s"}, {logins(), series.Unique, "subjects"}, {plain, series.Count, "events"},
	} {
		if got := Unit(c.def, c.agg); got != c.want {
			t.Errorf("%s of %s: got %q, want %q", c.agg, c.def.Slug, got, c.want)
		}
	}
}
