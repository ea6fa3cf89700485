//go:build linux

package perf

import (
	"math"
	"slices"
)

// Figure is something that was measured, once in each run or more often; its value is the median.
type Figure struct {
	Part  string    `json:"part"`
	Name  string    `json:"name"`
	Unit  string    `json:"unit"`
	Value float64   `json:"value"`
	All   []float64 `json:"all"`
	// Ceiling is what the machine does when it does nothing else, measured in the same run, and Ratio the share of it: the median of the runs' own.
	Ceiling string  `json:"ceiling,omitempty"`
	Best    float64 `json:"ceiling_value,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
	Goal    string  `json:"goal,omitempty"`
	Met     *bool   `json:"met,omitempty"`

	best, ratios []float64
}

// ceiling is a limit of the machine.
type ceiling struct {
	name  string
	value float64
}

// note adds what a run has measured.
func (r *Report) note(part, name, unit string, value float64, of ...ceiling) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Part == part && f.Name == name })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, Figure{Part: part, Name: name, Unit: unit})
	}
	f := &r.Figures[i]
	f.All = append(f.All, round(value))
	f.Value = round(median(f.All))
	if len(of) == 1 && of[0].value > 0 {
		f.Ceiling = of[0].name
		f.best = append(f.best, of[0].value)
		f.Best = round(median(f.best))
		f.ratios = append(f.ratios, value/of[0].value)
		f.Ratio = round(median(f.ratios))
	}
	f.judge()
}

// figure is the value of one that was measured, 0 of none.
func (r *Report) figure(part, name string) float64 {
	for _, f := range r.Figures {
		if f.Part == part && f.Name == name {
			return f.Value
		}
	}
	return 0
}

// median is the middle one, the mean of the middle two.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// round keeps four digits: more is noise.
func round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	if scale < 1 {
		return math.Round(v)
	}
	return math.Round(v*scale) / scale
}

// goal is what a figure must be.
type goal struct {
	part, name string
	most       float64 // the limit, unless least is set
	least      float64
	share      bool // the limit is one of the ratio to the ceiling
	text       string
}

// goals are those of docs/performance.md.
func goals() []goal {
	return []goal{
		{part: "batch-1000", name: cpuName, most: 5, text: "≤ 5"},
		{part: "batch-1000", name: committedName, least: 200_000, text: "≥ 200 000"},
		{part: "single", name: acceptedName, least: 0.5, share: true, text: "≥ 0.5 of no-op"},
		{part: "single", name: p99Name, most: 25, text: "≤ 25"},
		{part: "fresh", name: "sent to queryable p50", most: 30, text: "≤ 30"},
		{part: "fresh", name: "sent to queryable p99", most: 250, text: "≤ 250"},
		{part: "fresh", name: "p99 of the worst second", most: 1000, text: "≤ 1 000"},
		{part: "read", name: chartName + " p99", most: 10, text: "≤ 10"},
		{part: "read", name: rawName + " p50", most: 10, text: "≤ 10"},
		{part: "read", name: groupName + " p50", most: 13, text: "≤ 13"},
		{part: "read", name: byIDName + " p99", most: 10, text: "≤ 10"},
		{part: "read", name: newestName + " p99", most: 10, text: "≤ 10"},
		{part: "disk", name: storeName, most: 39, text: "≤ 55, then ≤ 39"},
		{part: reportPart, name: reportedName, least: 1_000_000, text: "≥ 1 000 000"},
		{part: reportPart, name: cpuName, most: 2, text: "≤ 2"},
		{part: "series", name: peakName, most: 600, text: "≤ 600"},
		{part: "live", name: "queryable to client p99", most: 250, text: "≤ 250"},
		{part: "live", name: "memory with clients", most: 400, text: "≤ 400"},
		{part: "live", name: "ingest with clients, of that without", least: 0.9, text: "≥ 0.9"},
		{part: "scaling", name: "slowest of fastest", least: 0.9, text: "≥ 0.9"},
	}
}

// judge compares a figure with its goal, if it has one.
func (f *Figure) judge() {
	for _, g := range goals() {
		if g.part != f.Part || g.name != f.Name {
			continue
		}
		v := f.Value
		if g.share {
			v = f.Ratio
		}
		met := v <= g.most
		if g.least > 0 {
			met = v >= g.least
		}
		f.Goal, f.Met = g.text, &met
	}
}
