package metric

import (
	"errors"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// FuzzCompile: no expression makes the compiler panic or take long, none that is refused is refused without a word, and one that is taken can be
// computed from any event, in bounded time, to a label of bounded length.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"data.amount / 100.0", `data.a in ["x"] || has(data.b.c)`, "data.a.map(x, data.a.map(y, data.a.map(z, x + y + z)))", "type.matches('(a*)*b')", "((((true))))", "data['a'][0].b", "size(data) > 1 ? 'a' : 'b'",
		"timestamp(time) - duration('1h') < now", "'" + "\x00" + "' == type", "!!!!true", "1/0", "double('NaN')", "b'\\xff' == bytes(type)", "data.exists(x, x.all(y, y))"} {
		f.Add(s, []byte(`{"a":["x",1,[2]],"b":{"c":1e400},"amount":5}`))
	}
	f.Fuzz(func(t *testing.T, source string, data []byte) {
		var scan event.Scanner
		if end, err := scan.Value(data, 0); err != nil || end != len(data) || len(data) > 4096 || scan.Depth > event.MaxDepth || data[0] <= ' ' {
			return
		}
		ev := event.Event{ID: "i", Source: "s", Type: "t", Subject: "u", Time: time.Unix(1, 0), Data: data}
		began := time.Now()
		for _, def := range []Definition{{Slug: "m", Filter: source}, {Slug: "m", Value: source}, {Slug: "m", Dimensions: map[string]string{"d": source}}} {
			p, err := Compile(def)
			if err != nil {
				var bad *Invalid
				if !errors.As(err, &bad) || len(bad.Fields) == 0 || bad.Fields[0].Message == "" {
					t.Fatalf("%q: %v", source, err)
				}
				continue
			}
			var d Doc
			d.Reset(&ev)
			labels, _, _ := p.Observe(&d)
			for _, l := range labels {
				if len(l) > maxDimensionBytes {
					t.Fatalf("%q of %s is a label of %d bytes", source, data, len(l))
				}
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("%q on %s took %s", source, data, took)
		}
	})
}
