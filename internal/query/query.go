// Package query answers questions about metrics: it checks a question, plans which rollups and which raw events answer it
// exactly, merges them, and turns the result into series.
package query

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Bounds of a query.
const (
	MaxPoints    = 11_000               // of one series
	MaxRange     = 400 * 24 * time.Hour // from From to To
	MaxLimit     = 1000                 // series
	DefaultLimit = 20
	DefaultRange = time.Hour
	// DefaultTimeLimit is how long a query may take when an Engine does not say.
	DefaultTimeLimit = 30 * time.Second
	maxWhere         = 200 // values in all
)

// limits bound the work of one query.
type limits struct {
	points    int // of all series of an answer
	scanned   int // raw events
	rawGroups int // that a read of raw events tells apart
	// Aggregates held at a time: one takes some 100 bytes; with sketches mostly some hundred, 20 kB at worst.
	scalars  int
	sketches int
	kept     int // given to a caller who wants to keep them
	time     time.Duration
}

func defaultLimits() limits {
	return limits{points: 2_000_000, scanned: 5_000_000, rawGroups: 10_000, scalars: 200_000, sketches: 20_000, kept: 500_000, time: DefaultTimeLimit}
}

// Query is a question about one metric. Parse makes one that is valid; Check tells what is wrong with one made by hand.
type Query struct {
	From time.Time     // inclusive, in event time
	To   time.Time     // exclusive
	Step time.Duration // whole seconds; steps are aligned to the Unix epoch
	Agg  series.Kind
	// GroupBy are dimensions; none means one series of everything.
	GroupBy []string
	// Where are the values that a dimension may have; a dimension that is not named may have any.
	Where map[string][]string
	// Limit is how many series are told apart; the rest are folded into one, which Other keeps in the answer.
	Limit int
	Other bool
	// Open says that To is the present because the question named no end. Steps of whole minutes are then read from rollups to
	// the last, although the current minute may hold events that are dated a little ahead: reading that minute's raw events
	// again and again, for every chart that is looked at, is not worth telling these apart.
	Open bool
}

// first is the start of the first step.
func (q *Query) first() time.Time { return series.Align(q.From, q.Step) }

// points is how many steps the range touches.
func (q *Query) points() int { return points(q.From, q.To, q.Step) }

func points(from, to time.Time, step time.Duration) int {
	if !from.Before(to) {
		return 0
	}
	last := series.Align(to.Add(-1), step)
	return int(last.Sub(series.Align(from, step))/step) + 1
}

// LimitError says that a valid question would take more work than one query may.
type LimitError struct{ Detail string }

func (e *LimitError) Error() string { return e.Detail }

// Unit is the unit of an answer: the metric's own for what has the dimension of its value, and what is counted for the rest.
//
// A metric without a value counts, so its unit names what it counts ("logins"; "events" when it has none). With a value, its
// unit is the value's ("usd"), and what is counted is events. Distinct values have no unit of their own: they are "values", or "subjects" where
// the metric has no value and subjects are what is told apart.
func Unit(def *metric.Definition, agg series.Kind) string {
	counted := "events"
	if def.Value == "" && def.Unit != "" {
		counted = def.Unit
	}
	switch agg {
	case series.Count:
		return counted
	case series.Rate:
		return counted + "/s"
	case series.Unique:
		if def.Value == "" {
			return "subjects"
		}
		return "values"
	}
	return def.Unit
}

// DefaultAgg is how a metric is aggregated when nobody says: a ratio is averaged, for its sum means nothing.
func DefaultAgg(def *metric.Definition) series.Kind {
	switch {
	case def.Value == "":
		return series.Count
	case def.Unit == "ratio":
		return series.Avg
	}
	return series.Sum
}

// Scalar says whether kind can be told without sketches.
func Scalar(kind series.Kind) bool {
	switch kind {
	case series.Unique, series.P50, series.P90, series.P95, series.P99:
		return false
	}
	return true
}
