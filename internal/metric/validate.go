package metric

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Bounds of a definition.
const (
	maxEventTypes  = 64
	maxDimensions  = 10
	maxName        = 200  // characters
	maxUnit        = 32   // characters
	maxDescription = 2000 // characters
)

var dimensionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// check says what is wrong with a definition but for its expressions.
func (d *Definition) check(bad *Invalid) {
	if err := tenant.CheckSlug(d.Slug); err != nil {
		bad.add("slug", "%v", err)
	}
	for _, f := range []struct {
		field, text string
		most        int
	}{{"name", d.Name, maxName}, {"unit", d.Unit, maxUnit}, {"description", d.Description, maxDescription}} {
		if n := utf8.RuneCountInString(f.text); n > f.most {
			bad.add(f.field, "has at most %d characters, this one has %d", f.most, n)
		} else if !plain(f.text) {
			bad.add(f.field, "is not plain text")
		}
	}
	d.checkEventTypes(bad)
	if len(d.Dimensions) > maxDimensions {
		bad.add("dimensions", "there are at most %d, here are %d", maxDimensions, len(d.Dimensions))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Dimensions)) {
		if !dimensionName.MatchString(name) {
			bad.add("dimensions."+name, "a dimension's name has 1 to 32 of a-z, 0-9 and _, beginning with a letter")
		}
	}
}

func (d *Definition) checkEventTypes(bad *Invalid) {
	if len(d.EventTypes) > maxEventTypes {
		bad.add("event_types", "there are at most %d, here are %d: let one end in * to mean all that begin so", maxEventTypes, len(d.EventTypes))
		return
	}
	for i, p := range d.EventTypes {
		switch {
		case p == "":
			bad.add("event_types", "a type must not be empty: leave event_types out to mean every type")
		case len(p) > event.MaxAttrBytes:
			bad.add("event_types", "a type has at most %d bytes", event.MaxAttrBytes)
		case strings.Contains(strings.TrimSuffix(p, "*"), "*"):
			bad.add("event_types", "%q: only the last character of a type may be *", p)
		case !plain(p):
			bad.add("event_types", "%q is not plain text", p)
		case slices.Contains(d.EventTypes[:i], p):
			bad.add("event_types", "%q is listed twice", p)
		}
	}
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
