package query

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Result is an answer; its JSON is the contract's.
type Result struct {
	Metric string          `json:"metric"`
	Agg    series.Kind     `json:"agg"`
	Unit   string          `json:"unit"`
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Step   series.Duration `json:"step"`
	Series []Series        `json:"series"`
}

// Series is the points of one set of labels.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points Points            `json:"points"`
	// Total is the aggregate of the whole range (for a rate: per second of it); nil when there is none.
	Total *float64 `json:"total"`
}

// AppendJSON appends the contract's JSON to b.
func (r *Result) AppendJSON(b []byte) []byte {
	b = appendText(append(b, `{"metric":`...), r.Metric)
	b = appendText(append(b, `,"agg":`...), string(r.Agg))
	b = appendText(append(b, `,"unit":`...), r.Unit)
	b = r.From.AppendFormat(append(b, `,"from":"`...), time.RFC3339Nano)
	b = r.To.AppendFormat(append(b, `","to":"`...), time.RFC3339Nano)
	b = appendText(append(b, `","step":`...), r.Step.String())
	b = append(b, `,"series":[`...)
	for i := range r.Series {
		s := &r.Series[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendLabels(append(b, `{"labels":`...), s.Labels), `,"points":`...)
		b = append(s.Points.AppendJSON(b), `,"total":`...)
		if s.Total == nil {
			b = append(b, "null}"...)
		} else {
			b = append(appendNumber(b, *s.Total), '}')
		}
	}
	return append(b, `]}`...)
}

// MarshalJSON is AppendJSON.
func (r Result) MarshalJSON() ([]byte, error) {
	n := 256
	for i := range r.Series {
		n += 128 + 24*len(r.Series[i].Points)
	}
	return r.AppendJSON(make([]byte, 0, n)), nil
}

func appendLabels(b []byte, labels map[string]string) []byte {
	b = append(b, '{')
	first := true
	add := func(name, value string) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendText(append(appendText(b, name), ':'), value)
	}
	if len(labels) == 1 { // has an order
		for name, value := range labels {
			add(name, value)
		}
	} else {
		for _, name := range sortedKeys(labels) {
			add(name, labels[name])
		}
	}
	return append(b, '}')
}

// appendText appends s as JSON.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) //nolint:errchkjson // a text can be written
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Point is the value of one step.
type Point struct {
	UnixMS int64 // of the step's start
	Value  float64
	Valid  bool // false: the step has no value
}

// Points are a point for each step. In JSON each is [unix_ms, value or null].
type Points []Point

// AppendJSON appends [unix_ms, value or null] to b.
func (p Point) AppendJSON(b []byte) []byte {
	b = append(strconv.AppendInt(append(b, '['), p.UnixMS, 10), ',')
	if p.Valid {
		b = appendNumber(b, p.Value)
	} else {
		b = append(b, "null"...)
	}
	return append(b, ']')
}

// AppendJSON appends [[unix_ms, value or null], …] to b.
func (ps Points) AppendJSON(b []byte) []byte {
	b = append(b, '[')
	for i := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		b = ps[i].AppendJSON(b)
	}
	return append(b, ']')
}

// MarshalJSON is AppendJSON.
func (ps Points) MarshalJSON() ([]byte, error) {
	return ps.AppendJSON(make([]byte, 0, 2+24*len(ps))), nil
}

// appendNumber writes v as JavaScript would: no exponent between 1e-6 and 1e21.
func appendNumber(b []byte, v float64) []byte {
	a := math.Abs(v)
	switch {
	case a < 1<<53 && v == math.Trunc(v): // counts, and most else
		return strconv.AppendInt(b, int64(v), 10)
	case a < 1e-6 || a >= 1e21:
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (ps *Points) UnmarshalJSON(b []byte) error {
	var raw [][2]*float64
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*ps = make(Points, len(raw))
	for i, r := range raw {
		if r[0] == nil {
			return fmt.Errorf("point %d has no time", i)
		}
		(*ps)[i].UnixMS = int64(*r[0])
		if r[1] != nil {
			(*ps)[i].Value, (*ps)[i].Valid = *r[1], true
		}
	}
	return nil
}

// number is a's value if it has one that JSON can hold.
func number(a *series.Agg, kind series.Kind, span time.Duration) *float64 {
	v, ok := a.Value(kind, span)
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// renderer turns groups into series. A group's steps may come in several goes, so that their aggregates need not be held together.
type renderer struct {
	def    *metric.Definition
	q      *Query
	series map[string]*rendered
	other  *rendered
	empty  Point
	n      int // points of each series
	limit  int // of points in all
}

type rendered struct {
	labels series.Labels
	other  bool
	points Points
	sum    series.Agg
	total  *float64
}

func newRenderer(def *metric.Definition, q *Query) *renderer {
	r := &renderer{def: def, q: q, series: map[string]*rendered{}, n: q.points(), limit: defaultLimits().points}
	r.empty = r.point(&series.Agg{})
	return r
}

// fits says whether an answer of so many series is small enough.
func (r *renderer) fits(count int) error {
	if count*r.n <= r.limit {
		return nil
	}
	return &LimitError{fmt.Sprintf("the answer would have %d series of %d points, at most %d points in all are allowed: "+
		"use a longer step, a shorter range or a smaller limit", count, r.n, r.limit)}
}

// finish answers with groups of which all steps are there.
func (r *renderer) finish(groups []Group) (Result, error) {
	all := fold(groups, r.q)
	for i := range all {
		s, err := r.of(&all[i].Group)
		if err != nil {
			return Result{}, err
		}
		r.draw(s, all[i].Steps)
		s.sum = *all[i].sum
	}
	return r.result(), nil
}

// draw sets the points of steps.
func (r *renderer) draw(s *rendered, steps []Step) {
	first, width := r.q.first().UnixMilli(), r.q.Step.Milliseconds()
	for i := range steps {
		if k := (steps[i].UnixMS - first) / width; k >= 0 && k < int64(r.n) {
			at := s.points[k].UnixMS
			s.points[k] = r.point(&steps[i].Agg)
			s.points[k].UnixMS = at
		}
	}
}

// add takes a part of the steps of groups.
func (r *renderer) add(groups []Group) error {
	for i := range groups {
		s, err := r.of(&groups[i])
		if err != nil {
			return err
		}
		r.draw(s, groups[i].Steps)
		for j := range groups[i].Steps {
			s.sum.Merge(&groups[i].Steps[j].Agg)
		}
	}
	return nil
}

// of is the series of a group.
func (r *renderer) of(g *Group) (*rendered, error) {
	if g.Other {
		if r.other == nil {
			r.other = r.blank(g)
		}
		return r.other, nil
	}
	key := g.Labels.Key()
	s, ok := r.series[key]
	if !ok {
		if err := r.fits(len(r.series) + 1); err != nil {
			return nil, err
		}
		s = r.blank(g)
		r.series[key] = s
	}
	return s, nil
}

func (r *renderer) blank(g *Group) *rendered {
	s := &rendered{labels: g.Labels, other: g.Other, points: make(Points, r.n)}
	at, step := r.q.first().UnixMilli(), r.q.Step.Milliseconds()
	for i := range s.points {
		s.points[i] = r.empty
		s.points[i].UnixMS = at
		at += step
	}
	return s
}

// point is a step's point but for its time. A rate is per second of the whole step, even where the range has only a part of
// it: to divide by the part would turn one event in the first milliseconds of a step into a spike.
func (r *renderer) point(a *series.Agg) Point {
	v, ok := a.Value(r.q.Agg, r.q.Step)
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return Point{}
	}
	return Point{Value: v, Valid: true}
}

func (r *renderer) result() Result {
	all := make([]*rendered, 0, len(r.series)+1)
	for _, s := range r.series {
		all = append(all, s)
	}
	if r.other != nil && r.q.Other {
		all = append(all, r.other)
	}
	if len(r.q.GroupBy) == 0 && len(all) == 0 {
		all = append(all, r.blank(&Group{}))
	}
	for _, s := range all {
		s.total = number(&s.sum, r.q.Agg, r.q.To.Sub(r.q.From))
	}
	slices.SortFunc(all, func(a, b *rendered) int { return compareRank(a.other, b.other, a.total, b.total, a.labels, b.labels) })
	out := Result{
		Metric: r.def.Slug, Agg: r.q.Agg, Unit: Unit(r.def, r.q.Agg), From: r.q.From.UTC(), To: r.q.To.UTC(),
		Step: series.Duration(r.q.Step), Series: make([]Series, 0, len(all)),
	}
	for _, s := range all {
		out.Series = append(out.Series, Series{Labels: r.labels(s), Points: s.points, Total: s.total})
	}
	return out
}

func (r *renderer) labels(s *rendered) map[string]string {
	if s.other {
		return map[string]string{series.OtherValue: "true"}
	}
	labels := make(map[string]string, len(s.labels))
	for i, d := range r.q.GroupBy {
		labels[d] = s.labels[i]
	}
	return labels
}
