package metric

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func problems(t *testing.T, def Definition) map[string]string {
	t.Helper()
	_, err := Compile(def)
	if err == nil {
		return nil
	}
	var bad *Invalid
	if !errors.As(err, &bad) {
		t.Fatalf("%T: %v", err, err)
	}
	out := map[string]string{}
	for _, f := range bad.Fields {
		out[f.Field] = f.Message
	}
	return out
}

func TestMistakesAreToldInWords(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = strings.Repeat("a", i+1)
	}
	eleven := map[string]string{}
	for i := range 11 {
		eleven[strings.Repeat("a", i+1)] = "source"
	}
	for _, c := range []struct {
		def         Definition
		field, want string
	}{
		{Definition{Slug: "No Slug"}, "slug", "is not a slug"},
		{Definition{Name: strings.Repeat("ü", 201)}, "name", "at most 200 characters, this one has 201"},
		{Definition{Unit: strings.Repeat("x", 33)}, "unit", "at most 32"},
		{Definition{Description: "a\x00b"}, "description", "plain text"},
		{Definition{EventTypes: many}, "event_types", "at most 64"},
		{Definition{EventTypes: []string{""}}, "event_types", "empty"},
		{Definition{EventTypes: []string{"a*b"}}, "event_types", "only the last character"},
		{Definition{EventTypes: []string{"a**"}}, "event_types", "only the last character"},
		{Definition{EventTypes: []string{"a", "a"}}, "event_types", "twice"},
		{Definition{EventTypes: []string{strings.Repeat("a", 1025)}}, "event_types", "1024 bytes"},
		{Definition{Dimensions: eleven}, "dimensions", "at most 10"},
		{Definition{Dimensions: map[string]string{"Country": "source"}}, "dimensions.Country", "a-z"},
		{Definition{Dimensions: map[string]string{"country": " "}}, "dimensions.country", "data.country"},
		{Definition{Dimensions: map[string]string{"country": "data.x +"}}, "dimensions.country", "ends too early"},
		{Definition{Dimensions: map[string]string{"x": "[1]"}}, "dimensions.x", "must be a text, a number or a condition; this is of the kind list(int)"},
		{Definition{Filter: "livemode == true"}, "filter", `character 1: nothing is called "livemode"`},
		{Definition{Filter: "livemode == true"}, "filter", "data.livemode"},
		{Definition{Filter: "foo(data.x)"}, "filter", `there is no function "foo"`},
		{Definition{Filter: "source == 1"}, "filter", "character 8: == cannot be applied to (string, int)"},
		{Definition{Filter: "source == 'a' &&\n type + 1"}, "filter", "line 2, character 7: + cannot be applied to (string, int)"},
		{Definition{Filter: "'a'"}, "filter", "must be a condition"},
		{Definition{Filter: "data.x === 1"}, "filter", "syntax error"},
		{Definition{Filter: "data.x.matches('(')"}, "filter", "missing closing )"},
		{Definition{Filter: "data.x.matches(data.y)"}, "filter", "must be written out"},
		{Definition{Filter: "data.x.matches('a{999}b{999}c{999}')"}, "filter", "too large"},
		{Definition{Filter: "data.x % 2 == 0"}, "filter", "int(data.x) % 2"},
		{Definition{Filter: "data.l.exists(x, (x + 1) % 2 == 0)"}, "filter", "character 26: % is for whole numbers"},
		{Definition{Filter: strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200)}, "filter", "recursion"},
		{Definition{Filter: strings.Repeat(" ", 4096) + "true"}, "filter", "at most 4096 bytes"},
		{Definition{Filter: "data.a.all(x, data.a.all(y, data.a.all(z, z == x)))"}, "filter", "nesting"},
		{Definition{Filter: "'%s'.format([data.x]) == 'a'"}, "filter", `no function "format"`},
		{Definition{Value: "time"}, "value", "must be a number, or a text"},
		{Definition{Value: "int('abc')"}, "value", "type conversion"},
		{Definition{Value: "timestamp('yesterday') - time"}, "value", "invalid"},
	} {
		if c.def.Slug == "" {
			c.def.Slug = "m"
		}
		if got := problems(t, c.def)[c.field]; !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s says %q, want %q", c.def, c.field, got, c.want)
		}
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	got := problems(t, Definition{Slug: "!", Filter: "x", Value: "y", Dimensions: map[string]string{"a": "z", "b": "source"}, EventTypes: []string{""}})
	if len(got) != 5 {
		t.Errorf("%d fields: %v", len(got), got)
	}
	if _, err := Compile(Definition{Slug: "!", Filter: "x"}); !strings.Contains(err.Error(), "filter:") || !strings.Contains(err.Error(), "slug:") {
		t.Errorf("the error says %v", err)
	}
}

func TestAProgramDoesNotShareItsDefinitionWithTheCaller(t *testing.T) {
	def := Definition{Slug: "m", EventTypes: []string{"a"}, Dimensions: map[string]string{"x": "source", "a": "type"}}
	p := mustCompile(t, def)
	def.EventTypes[0] = "b"
	delete(def.Dimensions, "x")
	if !p.MatchesType("a") || len(p.Definition().Dimensions) != 2 || strings.Join(p.Dimensions(), ",") != "a,x" {
		t.Errorf("the program is now about %+v", p.Definition())
	}
}

// Each of these would take hours, or all memory, if nothing stopped it. They take some 30 ms; the test allows for the race
// detector on a busy machine.
func TestNoExpressionTakesLong(t *testing.T) {
	list := "[" + strings.Repeat("1,", 60_000) + "1]"
	text := strings.Repeat("a", 100_000)
	ev := event.Event{Time: time.Unix(1, 0), Data: []byte(`{"l":` + list + `,"s":"` + text + `","half":"` + text[:50_000] + `b"}`)}
	for _, expression := range []string{
		"data.l.all(x, data.l.all(y, x == y))",
		"data.l.map(x, data.l).size() > 0 && data.l.map(x, data.l) == data.l.map(x, data.l)",
		"data.l.filter(x, x > 0).map(y, data.l) == [data.l]",
		"data.l in data.l.map(x, data.l)",
		"data.l.all(x, data == data)",
		"data.l.all(x, size(data.s) > 0)",
		"data.l.all(x, data.s.contains(data.half) || true)",
		"data.l.all(x, data.s + data.s + data.s != '')",
		"data.s.replace('', data.s) == ''",
		"data.s.replace('a', 'aaaaaaaaaaaaaaaa').replace('a', data.s) == ''",
		"data.s.split('').join(data.s) == ''",
		"data.s.indexOf(data.half) > 0",
		"data.s.lastIndexOf(data.half) > 0",
		"data.l.all(x, data.s.matches('^(a|aa|aaa)*b$') || true)",
		"data.l.all(x, time.getHours('America/New_York') >= 0)",
		strings.Repeat("data.s + ", 90) + "data.s == ''",
		"data.l.all(x, data.s < data.half)",
		"data.l.exists(x, [data.l, data.l] == [data.l, data.l] && x > 5)",
	} {
		p := mustCompile(t, Definition{Slug: "m", Filter: expression})
		var d Doc
		d.Reset(&ev)
		began := time.Now()
		p.Observe(&d)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%.60s took %v", expression, took)
		} else {
			t.Logf("%.60s took %v", expression, took.Round(time.Microsecond))
		}
	}
}
