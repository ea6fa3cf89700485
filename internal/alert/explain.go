package alert

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// whyFiring says why an incident begins; s.Since is when the condition began to hold.
func (l look) whyFiring(s State) string {
	c := &l.rule.Condition
	var b strings.Builder
	if l.has {
		v, limit := distinct(l.value, c.Value)
		fmt.Fprintf(&b, "%s was %s in the last %s, %s %s", l.subject(s), l.measure(v), l.rule.Window, words(c.Op), limit)
	} else {
		fmt.Fprintf(&b, "%s had no data in the last %s, on which the rule alerts", l.subject(s), l.rule.Window)
	}
	if held := l.now.Sub(s.Since); held > 0 {
		fmt.Fprintf(&b, " (condition held since %s; began firing after %s)", clock(s.Since, l.now), span(held))
	}
	return b.String()
}

// whyResolved says why the incident that t closes ends.
func (l look) whyResolved(s State, t *Transition) string {
	c := &l.rule.Condition
	var b strings.Builder
	switch {
	case !l.has:
		fmt.Fprintf(&b, "%s had no data in the last %s, which the rule takes as ok", l.subject(s), l.rule.Window)
	case c.Clear != nil && strings.ContainsAny(c.Op, "<>"):
		v, limit := distinct(l.value, *c.Clear)
		side := "at or below"
		if c.Op[0] == '<' {
			side = "at or above"
		}
		fmt.Fprintf(&b, "%s was %s in the last %s, %s %s, where the rule clears", l.subject(s), l.measure(v), l.rule.Window, side, limit)
	default:
		v, limit := distinct(l.value, c.Value)
		fmt.Fprintf(&b, "%s was %s in the last %s, no longer %s %s", l.subject(s), l.measure(v), l.rule.Window, words(c.Op), limit)
	}
	fmt.Fprintf(&b, " (fired for %s since %s", span(t.At.Sub(t.StartedAt)), clock(t.StartedAt, t.At))
	if t.Worst != t.Threshold && c.holds(t.Worst) {
		worst, _ := distinct(t.Worst, t.Threshold)
		fmt.Fprintf(&b, "; worst was %s", l.measure(worst))
	}
	b.WriteByte(')')
	return b.String()
}

// subject is what was measured: "count of charges where status=failed for country=US".
func (l look) subject(s State) string {
	r := l.rule
	var b strings.Builder
	b.WriteString(aggWords(r.Agg))
	b.WriteString(r.Metric)
	for i, k := range slices.Sorted(maps.Keys(r.Where)) {
		b.WriteString(lead(i, " where "))
		b.WriteString(k + "=" + shown(r.Where[k]))
	}
	for i, k := range r.GroupBy {
		b.WriteString(lead(i, " for "))
		b.WriteString(k + "=" + shown(s.Labels[k]))
	}
	return b.String()
}

func lead(i int, first string) string {
	if i == 0 {
		return first
	}
	return ", "
}

// shown is a label's value as text; quoted when it would run into its surroundings, cut when it is very long.
func shown(v string) string {
	const most = 100
	if runes := []rune(v); len(runes) > most {
		v = string(runes[:most]) + "…"
	}
	if v == "" || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || strings.ContainsRune(`,="`, c) || !strconv.IsPrint(c) }) {
		return strconv.Quote(v)
	}
	return v
}

func aggWords(k series.Kind) string {
	switch k {
	case series.Avg:
		return "average of "
	case series.Min:
		return "minimum of "
	case series.Max:
		return "maximum of "
	case series.Last:
		return "last value of "
	case series.Unique:
		return "number of distinct values of "
	}
	return string(k) + " of "
}

func words(op string) string {
	switch op {
	case ">":
		return "above"
	case ">=":
		return "at or above"
	case "<":
		return "below"
	case "<=":
		return "at or below"
	case "==":
		return "equal to"
	}
	return "not equal to" // which reads well behind "no longer", too
}

// measure is a number with its unit. The unit is of the metric's values: counts have none.
func (l look) measure(v string) string {
	switch l.rule.Agg {
	case series.Count, series.Unique:
		return v
	case series.Rate:
		return v + " per second"
	}
	if l.unit == "" {
		return v
	}
	return v + " " + l.unit
}

// number writes v for people: whole numbers in full, others to six digits.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	if a := math.Abs(v); a >= 1e5 && a < 1e15 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// distinct writes two numbers such that they only look the same if they are.
func distinct(a, b float64) (x, y string) {
	x, y = number(a), number(b)
	if x == y && a != b {
		return strconv.FormatFloat(a, 'g', -1, 64), strconv.FormatFloat(b, 'g', -1, 64)
	}
	return x, y
}

// clock is the time of day of t, with its date when that is not now's.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// span is a stretch of time as people write it: "1m", "2h5m".
func span(d time.Duration) string {
	if d >= time.Second {
		d = d.Truncate(time.Second)
	}
	s := d.String()
	for _, zero := range [...]string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}
