package query

import (
	"slices"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Project returns what filters and projects a series' labels the way a query of def with this groupBy and where does. The
// function returns the values of groupBy, in its order, and false for labels that where excludes. It may be
// called from several goroutines.
func Project(def *metric.Definition, groupBy []string, where map[string][]string) func(series.Labels) (series.Labels, bool) {
	p := newProjection(def, groupBy, where)
	return func(labels series.Labels) (series.Labels, bool) {
		if !p.match(labels) {
			return nil, false
		}
		return p.appendTo(make(series.Labels, 0, len(p.keep)), labels), true
	}
}

// IsOther says whether projected labels are those of a metric's overflow: every value is series.OtherValue.
func IsOther(labels series.Labels) bool {
	for _, l := range labels {
		if l != series.OtherValue {
			return false
		}
	}
	return len(labels) > 0
}

// projection is a query's where and group_by as indexes of the metric's labels.
type projection struct {
	keep  []int
	where map[int][]string
}

func newProjection(def *metric.Definition, groupBy []string, where map[string][]string) projection {
	dims := def.DimensionNames()
	var p projection
	for _, d := range groupBy {
		p.keep = append(p.keep, slices.Index(dims, d))
	}
	for d, values := range where {
		if p.where == nil {
			p.where = make(map[int][]string, len(where))
		}
		p.where[slices.Index(dims, d)] = values
	}
	return p
}

func (p *projection) match(labels series.Labels) bool {
	for i, values := range p.where {
		if !slices.Contains(values, labels[i]) {
			return false
		}
	}
	return true
}

func (p *projection) appendTo(dst, labels series.Labels) series.Labels {
	for _, i := range p.keep {
		dst = append(dst, labels[i])
	}
	return dst
}
