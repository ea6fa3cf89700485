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
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Bounds of a rule.
const (
	MinWindow = 10 * time.Second
	MaxWindow = 24 * time.Hour
	MaxFor    = 24 * time.Hour

	maxName     = 200
	maxText     = 2000
	maxChannels = 20
	maxLabels   = 32
)

// Validate says what is wrong with a normalized rule, or nil. Dims are the dimension names of its metric; known says
// whether there is such a metric at all.
func (r *Rule) Validate(known bool, dims []string) []FieldError {
	var f fields
	if err := tenant.CheckSlug(r.Slug); err != nil {
		f.fail("slug", err.Error())
	}
	if len(r.Name) > maxName {
		f.fail("name", "has at most "+strconv.Itoa(maxName)+" bytes")
	}
	if len(r.Summary) > maxText {
		f.fail("summary", "has at most "+strconv.Itoa(maxText)+" bytes")
	}
	r.checkMetric(&f, known, dims)
	r.checkTimes(&f)
	r.Condition.check(&f)
	if s := []string{SeverityCritical, SeverityWarning, SeverityInfo}; !slices.Contains(s, r.Severity) {
		f.fail("severity", notOneOf(r.Severity, s))
	}
	if s := []string{NoDataOK, NoDataKeep, NoDataAlert}; !slices.Contains(s, r.NoData) {
		f.fail("no_data", notOneOf(r.NoData, s))
	}
	r.checkTelling(&f)
	return f.errs
}

func notOneOf(got string, of []string) string {
	return strconv.Quote(got) + " is not one of " + strings.Join(of, ", ")
}

func (r *Rule) checkMetric(f *fields, known bool, dims []string) {
	if _, err := series.ParseKind(string(r.Agg)); err != nil {
		f.fail("agg", err.Error())
	}
	switch {
	case r.Metric == "":
		f.fail("metric", "is needed: the slug of the metric to look at")
		return
	case !known:
		f.fail("metric", "there is no metric "+strconv.Quote(r.Metric))
		return
	}
	for i, d := range r.GroupBy {
		if !slices.Contains(dims, d) {
			f.fail("group_by["+strconv.Itoa(i)+"]", r.noDimension(d, dims))
		} else if slices.Contains(r.GroupBy[:i], d) {
			f.fail("group_by["+strconv.Itoa(i)+"]", strconv.Quote(d)+" is named twice")
		}
	}
	for _, d := range slices.Sorted(maps.Keys(r.Where)) {
		if !slices.Contains(dims, d) {
			f.fail("where."+d, r.noDimension(d, dims))
		}
	}
}

func (r *Rule) noDimension(d string, dims []string) string {
	if len(dims) == 0 {
		return "the metric " + r.Metric + " has no dimensions"
	}
	return fmt.Sprintf("the metric %s has no dimension %q: it has %s", r.Metric, d, strings.Join(dims, ", "))
}

func (r *Rule) checkTimes(f *fields) {
	switch w := time.Duration(r.Window); {
	case w < MinWindow || w > MaxWindow:
		f.fail("window", "is "+r.Window.String()+", but must be from 10s to 24h")
	case w%time.Second != 0:
		f.fail("window", "is "+r.Window.String()+", but must be in whole seconds")
	}
	if d := time.Duration(r.For); d < 0 || d > MaxFor {
		f.fail("for", "is "+r.For.String()+", but must be from 0s to 24h")
	}
}

func (c *Condition) check(f *fields) {
	switch c.Type {
	case TypeThreshold:
	case "ratio", "change", "absence", "dynamic", "anomaly":
		f.fail("condition.type", strconv.Quote(c.Type)+" is not available yet: use \"threshold\"")
		return
	default:
		f.fail("condition.type", strconv.Quote(c.Type)+" is not a type of condition: use \"threshold\"")
		return
	}
	finite := func(name string, v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			f.fail("condition."+name, "must be a finite number")
		}
	}
	finite("value", c.Value)
	if ops := []string{">", ">=", "<", "<=", "==", "!="}; !slices.Contains(ops, c.Op) {
		f.fail("condition.op", notOneOf(c.Op, ops))
		return
	}
	if c.Clear == nil {
		return
	}
	finite("clear", *c.Clear)
	if why := c.clearProblem(); why != "" {
		f.fail("condition.clear", why)
	}
}

// clearProblem says why the value at which an incident ends is not on the good side of the one at which it begins.
func (c *Condition) clearProblem() string {
	value := number(c.Value)
	switch {
	case c.Op == "==" || c.Op == "!=":
		return "makes no sense with " + c.Op + ": leave it out"
	case c.Op == ">" && *c.Clear > c.Value:
		return "must be at most " + value + ", the value above which the rule fires"
	case c.Op == ">=" && *c.Clear >= c.Value:
		return "must be below " + value + ", the value from which on the rule fires"
	case c.Op == "<" && *c.Clear < c.Value:
		return "must be at least " + value + ", the value below which the rule fires"
	case c.Op == "<=" && *c.Clear <= c.Value:
		return "must be above " + value + ", the value up to which the rule fires"
	}
	return ""
}

// checkTelling looks at what is told with an incident.
func (r *Rule) checkTelling(f *fields) {
	if len(r.Channels) > maxChannels {
		f.fail("channels", "has at most "+strconv.Itoa(maxChannels)+" entries")
	}
	for i, c := range r.Channels {
		if err := tenant.CheckSlug(c); err != nil {
			f.fail("channels["+strconv.Itoa(i)+"]", err.Error())
		}
	}
	if len(r.Labels) > maxLabels {
		f.fail("labels", "has at most "+strconv.Itoa(maxLabels)+" entries")
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if k == "" || len(k)+len(r.Labels[k]) > maxText {
			f.fail("labels."+k, "a label has a name, and with it at most "+strconv.Itoa(maxText)+" bytes")
		}
	}
}
