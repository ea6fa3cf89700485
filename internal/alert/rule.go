package alert

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// What a rule's condition, severity and no_data may be.
const (
	TypeThreshold = "threshold"

	SeverityCritical = "critical"
	SeverityWarning  = "warning"
	SeverityInfo     = "info"

	NoDataOK    = "ok"
	NoDataKeep  = "keep"
	NoDataAlert = "alert"
)

// DefaultWindow is the window of a rule that names none.
const DefaultWindow = 5 * time.Minute

// FieldError says what is wrong with one field of a rule, where Location is as in "condition.value" or "where.status".
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (e FieldError) Error() string {
	if e.Location == "" {
		return e.Message
	}
	return e.Location + ": " + e.Message
}

// Normalize fills in the defaults.
func (r *Rule) Normalize() {
	r.Name, r.Summary = strings.TrimSpace(r.Name), strings.TrimSpace(r.Summary)
	if r.Agg == "" {
		r.Agg = series.Count
	}
	if r.Window == 0 {
		r.Window = series.Duration(DefaultWindow)
	}
	if r.Condition.Type == "" {
		r.Condition.Type = TypeThreshold
	}
	if r.Severity == "" {
		r.Severity = SeverityWarning
	}
	if r.NoData == "" {
		r.NoData = NoDataOK
	}
}

// SameComputation says whether two rules look at the same values, so that a changed rule can keep its ID, its windows and its
// open incidents. The condition, for, no_data, and all that is told with an incident may differ.
func (r *Rule) SameComputation(o *Rule) bool {
	return r.Metric == o.Metric && r.Agg == o.Agg && r.Window == o.Window && slices.Equal(r.GroupBy, o.GroupBy) && maps.Equal(r.Where, o.Where)
}

// UnmarshalJSON reads a rule as it is stored: one that doesn't say enabled is. What people send goes through ParseRule.
func (r *Rule) UnmarshalJSON(b []byte) error {
	type plain Rule // without this method
	p := plain{Enabled: true}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*r = Rule(p)
	return nil
}

// ParseRule reads a rule as people send it, with defaults filled in; ID, tenant and times are the caller's to set. The errors
// are about the form only: Validate has the rest to say.
func ParseRule(body []byte) (Rule, []FieldError) {
	r := Rule{Enabled: true}
	f := fields{}
	if err := json.Unmarshal(body, &f.raw); err != nil || f.raw == nil {
		return r, []FieldError{{Message: "a rule is a JSON object"}}
	}
	take(&f, "slug", &r.Slug, "must be text")
	take(&f, "name", &r.Name, "must be text")
	take(&f, "metric", &r.Metric, "must be the slug of a metric")
	take(&f, "agg", &r.Agg, "must be text, such as \"count\"")
	take(&f, "group_by", &r.GroupBy, "must be a list of dimension names")
	take(&f, "severity", &r.Severity, "must be text")
	take(&f, "channels", &r.Channels, "must be a list of channel slugs")
	take(&f, "no_data", &r.NoData, "must be text")
	take(&f, "summary", &r.Summary, "must be text")
	take(&f, "enabled", &r.Enabled, "must be true or false")
	f.duration("window", &r.Window)
	f.duration("for", &r.For)
	r.Where = f.texts("where")
	r.Labels = f.texts("labels")
	r.Condition = f.condition("condition")
	for _, known := range [...]string{"id", "tenant", "created_at", "updated_at"} {
		delete(f.raw, known) // ours to say: what was read can be sent again
	}
	f.leftover()
	r.Normalize()
	return r, f.errs
}

// fields reads the members of a JSON object one by one, so that each error has its place.
type fields struct {
	raw  map[string]json.RawMessage
	errs []FieldError
}

// next takes a member out; nil when it is absent or null.
func (f *fields) next(name string) json.RawMessage {
	v := f.raw[name]
	delete(f.raw, name)
	if string(v) == "null" {
		return nil
	}
	return v
}

func (f *fields) fail(location, message string) {
	f.errs = append(f.errs, FieldError{Location: location, Message: message})
}

// take reads a member into dst and says whether it was there.
func take[T any](f *fields, name string, dst *T, wrong string) bool {
	v := f.next(name)
	if v == nil {
		return false
	}
	if err := json.Unmarshal(v, dst); err != nil {
		var zero T
		*dst = zero
		f.fail(name, wrong)
	}
	return true
}

func (f *fields) duration(name string, dst *series.Duration) {
	var text string
	if !take(f, name, &text, "must be text, such as \"30s\", \"5m\" or \"1h\"") || text == "" {
		return
	}
	d, err := series.ParseDuration(text)
	if err != nil {
		f.fail(name, err.Error())
	}
	*dst = d
}

func (f *fields) texts(name string) map[string]string {
	var raw map[string]json.RawMessage
	if !take(f, name, &raw, "must be an object of texts") {
		return nil
	}
	out := make(map[string]string, len(raw))
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		var v *string
		if err := json.Unmarshal(raw[k], &v); err != nil || v == nil {
			f.fail(name+"."+k, "must be text: write numbers and booleans in quotes")
			continue
		}
		out[k] = *v
	}
	return out
}

func (f *fields) condition(name string) Condition {
	var c Condition
	sub := fields{}
	if !take(f, name, &sub.raw, "must be an object, such as {\"type\": \"threshold\", \"op\": \">\", \"value\": 10}") {
		f.fail(name, "is needed, such as {\"type\": \"threshold\", \"op\": \">\", \"value\": 10}")
		return c
	}
	if sub.raw == nil {
		return c // not an object, and that has been said
	}
	take(&sub, "type", &c.Type, "must be text")
	if c.Type != "" && c.Type != TypeThreshold {
		return c // its members are not ours to judge
	}
	take(&sub, "op", &c.Op, "must be text, such as \">\"")
	take(&sub, "clear", &c.Clear, "must be a number")
	if !take(&sub, "value", &c.Value, "must be a number") {
		sub.fail("value", "is needed: the number to compare with")
	}
	sub.leftover()
	for _, e := range sub.errs {
		f.fail(name+"."+e.Location, e.Message)
	}
	return c
}

// leftover complains of members that nobody has taken: most are misspelt.
func (f *fields) leftover() {
	for _, name := range slices.Sorted(maps.Keys(f.raw)) {
		f.fail(name, "is not a field of a rule: see the API documentation for those there are")
	}
}
