package metric

import (
	"fmt"
	"testing"
)

func TestProgramsAreTakenApartByField(t *testing.T) {
	for _, c := range []struct {
		def  Definition
		want string // fields, conditions, value; empty: it cannot be
	}{
		{Definition{}, "[] 0 -"},
		{Definition{Filter: "data.a == 1 && (data.b.c < 2 && data.a != 5)", Value: "data.v / 100", Dimensions: map[string]string{"x": "type", "y": "data.b.c"}},
			"[data.a data.b.c data.v type] 3 linear 1/100"},
		{Definition{Value: "data.v"}, "[data.v] 0 plain"},
		{Definition{Value: `data["v"] * 0.5`}, "[data.v] 0 linear 0.5/1"},
		{Definition{Value: "2 * event.data.v"}, "[data.v] 0 linear 2/1"},
		{Definition{Value: "2 / data.v"}, "[data.v] 0 any"},
		{Definition{Value: "data.v > 5"}, "[data.v] 0 any"},
		{Definition{Filter: "data.a == 1 || data.a == 2", Value: "1"}, "[data.a] 1 any"},
		{Definition{Filter: `source in ["a", "b"]`}, "[source] 1 -"},
		{Definition{Filter: "data.a == 1 || data.b == 2"}, ""},
		{Definition{Filter: "has(data.a)"}, ""},
		{Definition{Filter: "data.list.exists(x, x == 1)"}, ""},
		{Definition{Filter: "data.list[0] == 1"}, ""},
		{Definition{Filter: "event.extension == 1"}, ""},
		{Definition{Filter: "time.getHours() == 1"}, ""},
		{Definition{Filter: "data == null"}, ""},
		{Definition{Value: "data.a - data.b"}, ""},
		{Definition{Dimensions: map[string]string{"x": "event.subject"}}, ""},
	} {
		c.def.ID, c.def.Slug = 1, "m"
		p, err := Compile(c.def)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if a, ok := p.Columnar(); ok {
			fields := []string{}
			for _, f := range a.Fields {
				name := f.Attribute
				if name == "" {
					name = "data"
				}
				for _, s := range f.Path {
					name += "." + s
				}
				fields = append(fields, name)
			}
			value := "-"
			switch {
			case a.Value == nil:
			case a.Value.Linear:
				value = fmt.Sprintf("linear %v/%v", a.Value.Times, a.Value.Over)
			case a.Value.Plain:
				value = "plain"
			default:
				value = "any"
			}
			got = fmt.Sprintf("%v %d %s", fields, len(a.Filter), value)
			if len(a.Dimensions) != len(c.def.Dimensions) {
				t.Errorf("%+v: %d dimensions", c.def, len(a.Dimensions))
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.def, got, c.want)
		}
	}
}
