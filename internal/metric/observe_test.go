package metric

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
)

func observe(t *testing.T, def Definition, ev event.Event) (series.Labels, series.Observation, bool) {
	t.Helper()
	if def.Slug == "" {
		def.Slug = "m"
	}
	var d Doc
	d.Reset(&ev)
	return mustCompile(t, def).Observe(&d)
}

func about(data string) event.Event {
	return event.Event{ID: "1", Source: "shop", Type: "order.paid", Time: time.Unix(1_700_000_000, 5).UTC(), Data: []byte(data)}
}

func TestRevenueByCountryAndBrand(t *testing.T) {
	labels, o, ok := observe(t, revenue(), chargeEvent())
	if !ok || !slices.Equal(labels, series.Labels{"visa", "US"}) {
		t.Fatalf("labels %q, %v", labels, ok)
	}
	if !o.Numeric || o.Value != 125.5 || !o.HasDistinct || !o.At.Equal(chargeEvent().Time) {
		t.Errorf("observed %+v", o)
	}
}

func TestFilterHoldsOnlyWhenItIsTrue(t *testing.T) {
	for filter, want := range map[string]bool{
		"":                                          true,
		"data.live":                                 true,
		"data.live == true":                         true,
		"data.n > 4 && data.n < 6.5":                true,
		"data.n":                                    false, // a number is no condition
		"data.missing == 1":                         false,
		"data.missing.deeper":                       false,
		"data.missing == 1 || data.live":            true, // || absorbs the error
		"data.missing == 1 && data.live":            false,
		"!(data.missing == 1 && !data.live)":        true,
		"has(data.missing)":                         false,
		"has(data.nothing) && data.nothing==null":   true,
		"data.s > 5":                                false,
		"type.startsWith('order.')":                 true,
		"source in ['shop', 'web']":                 true,
		"data.s.matches('^h.*o$')":                  true,
		"data.list.exists(x, x > 2)":                true,
		"data.list[1] == 2":                         true,
		"data.list[7] == 2":                         false,
		`data["s"] == "hello"`:                      true,
		"event.data.s == data.s":                    true,
		"event.region == 'eu'":                      true,
		"has(event.subject)":                        false,
		"time > timestamp('2023-11-14T00:00:00Z')":  true,
		"event.received_at - time < duration('2s')": true,
		"data.s.upperAscii() == 'HELLO'":            true,
		"size(data.list) == 3":                      true,
	} {
		ev := about(`{"live":true,"n":5.5,"s":"hello","list":[1,2,3],"nothing":null}`)
		ev.Extensions, ev.Received = []byte(`{"region":"eu"}`), ev.Time.Add(time.Second)
		if _, _, got := observe(t, Definition{Filter: filter}, ev); got != want {
			t.Errorf("%s: %v", filter, got)
		}
	}
}

func TestValueIsANumberOrATextToCountDistinct(t *testing.T) {
	for _, c := range []struct {
		value   string
		want    float64
		numeric bool
		ok      bool
	}{
		{"data.n", 5.5, true, true},
		{"data.n * 2", 11, true, true},
		{"data.n / 2", 2.75, true, true},
		{"-data.n + (60 * 60)", 3594.5, true, true},
		{"100 - data.n", 94.5, true, true},
		{"(has(data.none) ? data.none : 1) / 4", 0.25, true, true},
		{"double(data.price) * 100", 1250, true, true},
		{"double(data.price)", 12.5, true, true},
		{"data.yes", 1, true, true},
		{"data.n > 100", 0, true, true},
		{"size(data.list)", 3, true, true},
		{"int(data[\"n\"])", 5, true, true},
		{"data[\"n\"] * 2", 11, true, true},
		{"size(data[\"list\"].filter(x, x > 1))", 2, true, true},
		{"7", 7, true, true},
		{"time - timestamp(data.created)", 30, true, true},
		{"data.list.map(x, x * 2)[1]", 4, true, true},
		{"data.list.filter(x, x >= 2).size()", 2, true, true},
		{"data.zero", 0, true, true},
		{"data.price", 0, false, true},
		{"id", 0, false, true},
		{"data.none", 0, false, false},
		{"data.nothing", 0, false, false},
		{"data.list", 0, false, false},
		{"data.n / 0", 0, false, false},
		{"data.huge", 0, false, false},
		{"data.zero / 0.0", 0, false, false},
		{"1 / 0", 0, false, false},
	} {
		ev := about(`{"n":5.5,"price":"12.5","yes":true,"list":[1,2,3],"nothing":null,"huge":1e999,"zero":-0,"created":"2023-11-14T22:12:50.000000005Z"}`)
		_, o, ok := observe(t, Definition{Value: c.value}, ev)
		if ok != c.ok || ok && (o.Numeric != c.numeric || o.Value != c.want || math.Signbit(o.Value) != math.Signbit(c.want) || !o.HasDistinct) {
			t.Errorf("%s: %+v, %v", c.value, o, ok)
		}
	}
}

func TestDimensionsAreWrittenInOneForm(t *testing.T) {
	for expression, want := range map[string]string{
		"data.five": "5", "data.five + 0.5": "5.5", "data.exp": "5", "data.yes": "true", "data.s": "hello", "data.empty": "",
		"data.missing": "", "data.missing.deeper": "", "data.nothing": "", "data.list": "", "data.obj": "", "data.five / 0": "",
		"size(data.s)": "5", "data.negzero": "0", "data.big": "1e+21", "data.small": "1.5e-7", "data.large": "123456789012", "data.s == 'hello'": "true",
		"data.other": "_other_", "data.nul": "a\uFFFDb", "data.half": "x\uFFFD", "source": "shop", "subject": "", "type": "order.paid",
		"data.s.upperAscii()": "HELLO", "has(data.s) ? data.s : 'none'": "hello", "time.getFullYear()": "2023",
		"data.long": strings.Repeat("ü", 128), "data.odd": "x" + strings.Repeat("ü", 127), "data.five > 4 ? 'high' : 'low'": "high",
	} {
		ev := about(fmt.Sprintf(`{"five":5,"exp":0.5e1,"yes":true,"s":"hello","empty":"","nothing":null,"list":[1],"obj":{"a":1},"negzero":-0.0,"big":1e21,
			"small":0.00000015,"large":123456789012,"other":"__other__","nul":"a\u0000b","half":"x\ud800","long":%q,"odd":%q}`, strings.Repeat("ü", 200), "x"+strings.Repeat("ü", 200)))
		labels, _, ok := observe(t, Definition{Dimensions: map[string]string{"x": expression}}, ev)
		if !ok || len(labels) != 1 || labels[0] != want {
			t.Errorf("%s: %q, %v; want %q", expression, labels, ok, want)
		}
	}
}

func TestDistinctIsOfTheValueElseOfTheSubject(t *testing.T) {
	hash := func(value, data, subject string) (uint64, bool) {
		ev := about(data)
		ev.Subject = subject
		_, o, ok := observe(t, Definition{Value: value}, ev)
		return o.Distinct, ok && o.HasDistinct
	}
	alice, ok := hash("data.user", `{"user":"alice"}`, "s1")
	if again, _ := hash("data.user", `{"user":"\u0061lice"}`, "s2"); !ok || again != alice {
		t.Error("the same text has two hashes")
	}
	if bySubject, ok := hash("", `{}`, "alice"); !ok || bySubject != alice {
		t.Error("a subject is hashed differently from a text")
	}
	if _, ok := hash("", `{}`, ""); ok {
		t.Error("no subject counts as one")
	}
	five, _ := hash("data.n", `{"n":5}`, "")
	if again, _ := hash("data.n", `{"n":5.0}`, ""); again != five {
		t.Error("the same number has two hashes")
	}
	if other, _ := hash("data.n", `{"n":6}`, ""); other == five {
		t.Error("two numbers have one hash")
	}
	// These are kept in stored sketches: a change of the hash function would count every value twice.
	if want := uint64(0x73a3ea485f2e6049); alice != want {
		t.Errorf("the hash of \"alice\" is %#x, stored sketches have %#x", alice, want)
	}
	if five != 0xd8d22d08f7c92ac1 {
		t.Errorf("the hash of 5 is %#x", five)
	}
}

func TestWithoutDataOrWithBrokenDataPathsAreMissing(t *testing.T) {
	for _, data := range []string{"", `{"a":`, `nonsense]`} {
		def := Definition{Dimensions: map[string]string{"a": "data.a", "b": "data.a.upperAscii()", "has": "has(data.a)", "none": "data == null"}}
		labels, _, ok := observe(t, def, about(data))
		if !ok || !slices.Equal(labels, series.Labels{"", "", "false", "true"}) {
			t.Errorf("%q: %q, %v", data, labels, ok)
		}
	}
}

func TestObservingAllocatesNothingOnceSeriesAreKnown(t *testing.T) {
	ev, escaped := chargeEvent(), about(`{"a":"caf\u00e9","b":12.25,"c":[{"d":true}]}`)
	odd := Definition{Slug: "odd", Filter: "data.c[0].d && data.a.startsWith('caf') && source in ['shop', 'x']", Value: "double(data.b) / 2",
		Dimensions: map[string]string{"a": "data.a", "b": "data.b", "t": "type", "m": "data.a.matches('^c') ? 'yes' : 'no'"}}
	for _, c := range []struct {
		def Definition
		ev  event.Event
	}{{revenue(), ev}, {Events("default"), ev}, {odd, escaped}} {
		p := mustCompile(t, c.def)
		var d Doc
		allocs := testing.AllocsPerRun(100, func() {
			d.Reset(&c.ev)
			if _, _, ok := p.Observe(&d); !ok {
				t.Fatal("not observed")
			}
		})
		if allocs != 0 {
			t.Errorf("%s allocates %v times an event", c.def.Slug, allocs)
		}
	}
}

func TestMemoryForLabelsIsBounded(t *testing.T) {
	p := mustCompile(t, Definition{Slug: "m", Dimensions: map[string]string{"n": "data.n"}})
	var d Doc
	for i := range 3 * maxRemembered {
		ev := about(fmt.Sprintf(`{"n":%d}`, i))
		d.Reset(&ev)
		if l, _, _ := p.Observe(&d); l[0] != fmt.Sprint(i) {
			t.Fatalf("%d has the label %q", i, l)
		}
	}
	if len(d.labels) > maxRemembered {
		t.Errorf("%d labels are remembered", len(d.labels))
	}
}

func TestOneProgramServesManyGoroutines(t *testing.T) {
	def := revenue()
	def.Filter = "data.data.object.currency.upperAscii() == 'USD'" // CEL's own
	s := NewSet([]*Program{mustCompile(t, def), mustCompile(t, Events("default"))})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ev := chargeEvent()
			var d Doc
			for range 200 {
				d.Reset(&ev)
				for _, p := range s.For(ev.Type) {
					if _, _, ok := p.Observe(&d); !ok {
						t.Error("not observed")
					}
				}
			}
		})
	}
	wg.Wait()
}
