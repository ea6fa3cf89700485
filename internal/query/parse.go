package query

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// FieldError says what is wrong with one parameter.
type FieldError struct {
	Location string `json:"location"` // "query.step"
	Message  string `json:"message"`
}

// Parse reads the parameters of a query of def: from, to, step, agg, group_by, where, limit, other. What is missing gets its
// default, so that no parameters at all ask for the last hour. The query is only good if there are no errors.
func Parse(v url.Values, def *metric.Definition, now time.Time) (Query, []FieldError) {
	p := parser{values: v}
	q := Query{Limit: DefaultLimit, Other: true, Agg: DefaultAgg(def)}
	q.From, q.To, q.Open = p.bounds(now.UTC())
	if s := p.one("step"); s != "" {
		d, err := series.ParseDuration(s)
		if err != nil {
			p.fail("step", "%v", err)
		}
		q.Step = time.Duration(d)
	} else {
		q.Step = AutoStep(q.From, q.To)
	}
	if s := p.one("agg"); s != "" {
		kind, err := series.ParseKind(s)
		if err != nil {
			p.fail("agg", "%v", err)
		}
		q.Agg = kind
	}
	if s := strings.Join(v["group_by"], ","); s != "" {
		q.GroupBy = strings.Split(s, ",")
	}
	q.Where = p.where()
	if s := p.one("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			p.fail("limit", "%q is not a whole number: use 1 to %d", s, MaxLimit)
		}
		q.Limit = n
	}
	if s := p.one("other"); s != "" {
		b, err := strconv.ParseBool(s)
		if err != nil {
			p.fail("other", "%q is neither true nor false", s)
		}
		q.Other = b
	}
	for _, e := range q.Check(def) {
		if !p.failed(e.Location) && (e.Location != "query.from" || !p.failed("query.to")) {
			p.errors = append(p.errors, e)
		}
	}
	return q, p.errors
}

// failed says whether a parameter could not even be read, so that what is wrong with it has been said.
func (p *parser) failed(location string) bool {
	return slices.ContainsFunc(p.errors, func(e FieldError) bool { return e.Location == location })
}

type parser struct {
	values url.Values
	errors []FieldError
}

func (p *parser) fail(field, format string, args ...any) {
	p.errors = append(p.errors, FieldError{"query." + field, fmt.Sprintf(format, args...)})
}

func (p *parser) one(name string) string {
	all := p.values[name]
	if len(all) > 1 {
		p.fail(name, "is given %d times: give it once", len(all))
	}
	return p.values.Get(name)
}

// bounds reads from and to. Defaults begin on a whole minute, so that rollups answer them.
func (p *parser) bounds(now time.Time) (from, to time.Time, open bool) {
	to, open = p.time("to")
	if open {
		to = now
	}
	from, missing := p.time("from")
	if missing {
		from = series.Align(to.Add(-DefaultRange), time.Minute)
	}
	return from, to, open
}

func (p *parser) time(name string) (t time.Time, missing bool) {
	s := p.one(name)
	if s == "" {
		return time.Time{}, true
	}
	t, err := ParseTime(s)
	if err != nil {
		p.fail(name, "%v", err)
	}
	return t, false
}

// The times that can be asked for: Unix nanoseconds reach from 1677 to 2262, and there were no webhooks before the epoch.
const minYear, maxYear = 1970, 2200

// ParseTime reads RFC 3339, or milliseconds since the Unix epoch.
func ParseTime(s string) (time.Time, error) {
	t, ok := time.Time{}, false
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		t, ok = time.UnixMilli(ms), true
	} else if r, good := event.ParseTime(strings.Replace(s, " ", "+", 1)); good { // a + that was not escaped arrives as a space
		t, ok = r, true
	}
	t = t.UTC()
	switch {
	case !ok:
		return time.Time{}, fmt.Errorf("%q is not a time: write it like 2026-01-31T09:00:00Z, or as milliseconds since 1970", s)
	case t.Year() < minYear || t.Year() > maxYear:
		return time.Time{}, fmt.Errorf("%q is out of range: use the years %d to %d", s, minYear, maxYear)
	}
	return t, nil
}

func (p *parser) where() map[string][]string {
	if len(p.values["where"]) == 0 {
		return nil
	}
	where := map[string][]string{}
	for _, w := range p.values["where"] {
		dim, value, ok := strings.Cut(w, ":")
		if !ok {
			p.fail("where", "%q is not of the form dimension:value", w)
			continue
		}
		if !slices.Contains(where[dim], value) {
			where[dim] = append(where[dim], value)
		}
	}
	return where
}

// Check tells everything that is wrong with a query of def; nil when nothing is.
func (q *Query) Check(def *metric.Definition) []FieldError {
	var p parser
	q.checkRange(&p)
	q.checkAgg(&p, def)
	dims := def.DimensionNames()
	allowed := "the metric has no dimensions"
	if len(dims) > 0 {
		allowed = "use " + strings.Join(dims, ", ")
	}
	for i, d := range q.GroupBy {
		switch {
		case !slices.Contains(dims, d):
			p.fail("group_by", "%q is not a dimension of %q: %s", d, def.Slug, allowed)
		case slices.Contains(q.GroupBy[:i], d):
			p.fail("group_by", "%q is there twice", d)
		}
	}
	n := 0
	for _, d := range sortedKeys(q.Where) {
		n += len(q.Where[d])
		if !slices.Contains(dims, d) {
			p.fail("where", "%q is not a dimension of %q: %s", d, def.Slug, allowed)
		}
	}
	if n > maxWhere {
		p.fail("where", "has %d values: at most %d are allowed", n, maxWhere)
	}
	if q.Limit < 1 || q.Limit > MaxLimit {
		p.fail("limit", "%d is out of range: use 1 to %d", q.Limit, MaxLimit)
	}
	return p.errors
}

func (q *Query) checkRange(p *parser) {
	step, length := series.Duration(q.Step), q.To.Sub(q.From)
	switch {
	case q.Step < time.Second || q.Step%time.Second != 0:
		p.fail("step", "%s is not possible: use whole seconds, 1s or more", step)
	case q.Step > MaxRange:
		p.fail("step", "%s is too long: at most %s are allowed", step, series.Duration(MaxRange))
	}
	switch {
	case length <= 0:
		p.fail("from", "%s is not before to, which is %s", stamp(q.From), stamp(q.To))
	case length > MaxRange:
		p.fail("from", "is %s before to: at most %s are allowed", series.Duration(length.Truncate(time.Second)), series.Duration(MaxRange))
	}
	if len(p.errors) > 0 {
		return
	}
	if n := q.points(); n > MaxPoints {
		p.fail("step", "%s would make %d points a series, at most %d are allowed: use a step of %s or more, or a shorter range",
			step, n, MaxPoints, series.Duration(fittingStep(q.From, q.To, MaxPoints)))
	}
}

func (q *Query) checkAgg(p *parser, def *metric.Definition) {
	if _, err := series.ParseKind(string(q.Agg)); err != nil {
		p.fail("agg", "%v", err)
		return
	}
	if def.Value != "" {
		return
	}
	switch q.Agg {
	case series.Count, series.Rate, series.Unique:
	case series.Sum:
		q.Agg = series.Count // each event counts as one
	default:
		p.fail("agg", "%q has no value to take the %s of: use count, rate or unique", def.Slug, q.Agg)
	}
}

// niceSteps are those that a person would choose.
func niceSteps() []time.Duration {
	const s, m, h, d = time.Second, time.Minute, time.Hour, 24 * time.Hour
	return []time.Duration{1 * s, 2 * s, 5 * s, 10 * s, 15 * s, 30 * s, 1 * m, 2 * m, 5 * m, 10 * m, 15 * m, 30 * m,
		1 * h, 2 * h, 3 * h, 6 * h, 12 * h, 1 * d, 2 * d, 7 * d, 14 * d, 28 * d}
}

// autoPoints is how many points a chart needs at most.
const autoPoints = 300

// AutoStep is the step for a range when nobody chose one: some 300 points at most, and whole minutes, which rollups answer, for
// anything longer than five minutes.
func AutoStep(from, to time.Time) time.Duration {
	step := fittingStep(from, to, autoPoints)
	if step > time.Second && step < time.Minute {
		return time.Minute
	}
	return step
}

func fittingStep(from, to time.Time, most int) time.Duration {
	steps := niceSteps()
	for _, s := range steps {
		if points(from, to, s) <= most {
			return s
		}
	}
	return steps[len(steps)-1]
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
