package series

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Kind is how a step's observations become one number.
type Kind string

// The kinds of the public contract.
const (
	Count  Kind = "count"
	Sum    Kind = "sum"
	Avg    Kind = "avg"
	Min    Kind = "min"
	Max    Kind = "max"
	Last   Kind = "last"
	Unique Kind = "unique"
	Rate   Kind = "rate"
	P50    Kind = "p50"
	P90    Kind = "p90"
	P95    Kind = "p95"
	P99    Kind = "p99"
)

// Kinds lists all kinds, in the contract's order.
func Kinds() []Kind {
	return []Kind{Count, Sum, Avg, Min, Max, Last, Unique, Rate, P50, P90, P95, P99}
}

// ParseKind reads a kind.
func ParseKind(s string) (Kind, error) {
	if k := Kind(s); slices.Contains(Kinds(), k) {
		return k, nil
	}
	names := make([]string, 0, len(Kinds()))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return "", fmt.Errorf("%q is not an aggregation: use one of %s", s, strings.Join(names, ", "))
}

// Value is the number that a has for kind over a span of time, and false when there is none: an empty step counts 0, at
// a rate of 0, with 0 distinct values, but has no sum, average, extreme, last or percentile. Nor has one whose sum is too
// large for a float64 a sum or average: what it returns is always finite.
func (a *Agg) Value(kind Kind, span time.Duration) (float64, bool) {
	switch kind {
	case Count:
		return float64(a.Count), true
	case Rate:
		return float64(a.Count) / span.Seconds(), true
	case Unique:
		return float64(a.Unique()), true
	}
	if a.Values == 0 {
		return 0, false
	}
	switch kind {
	case Sum:
		return a.Sum, finite(a.Sum)
	case Avg:
		return a.Sum / float64(a.Values), finite(a.Sum)
	case Min:
		return a.Min, true
	case Max:
		return a.Max, true
	case Last:
		return a.Last, true
	case P50:
		return a.Quantile(0.50)
	case P90:
		return a.Quantile(0.90)
	case P95:
		return a.Quantile(0.95)
	case P99:
		return a.Quantile(0.99)
	}
	return 0, false
}

func finite(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }

// Align is the start of the step that t falls into; steps are aligned to the Unix epoch.
func Align(t time.Time, step time.Duration) time.Time {
	ns := t.UnixNano()
	rest := ns % int64(step)
	if rest < 0 {
		rest += int64(step)
	}
	return time.Unix(0, ns-rest).UTC()
}

// Resolutions are the steps of stored rollups, finest first.
func Resolutions() []time.Duration { return []time.Duration{time.Minute, time.Hour, 24 * time.Hour} }

// OtherValue is the dimension value under which series past the bound of a metric are folded.
const OtherValue = "__other__"

// Labels are a series' dimension values, in the order of the metric's sorted dimension names.
type Labels []string

// Clone is a copy that shares nothing.
func (l Labels) Clone() Labels {
	out := slices.Clone(l)
	for i, s := range l {
		out[i] = strings.Clone(s)
	}
	return out
}

// Key is a map key for the labels: no two different ones of the same length, and so no two of one metric, have the same.
func (l Labels) Key() string {
	switch len(l) {
	case 0:
		return ""
	case 1:
		return l[0]
	}
	n := 0
	for _, s := range l {
		n += len(s) + 4
	}
	return string(l.AppendKey(make([]byte, 0, n)))
}

// AppendKey appends Key to dst: m[string(l.AppendKey(dst))] looks a series up without allocating.
func (l Labels) AppendKey(dst []byte) []byte {
	if len(l) == 1 {
		return append(dst, l[0]...)
	}
	for _, s := range l {
		m := len(s)
		dst = append(dst, byte(m>>24), byte(m>>16), byte(m>>8), byte(m)) //nolint:gosec // bytes of a length, taken apart on purpose
		dst = append(dst, s...)
	}
	return dst
}

// LabelsOf is the opposite of Labels.Key, for n labels; they are views of key.
func LabelsOf(key string, n int) Labels {
	switch n {
	case 0:
		return nil
	case 1:
		return Labels{key}
	}
	l := make(Labels, n)
	for i := range l {
		m := int(key[0])<<24 | int(key[1])<<16 | int(key[2])<<8 | int(key[3])
		l[i], key = key[4:4+m], key[4+m:]
	}
	return l
}
