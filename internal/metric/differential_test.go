package metric

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/pulsestream/pulsestream/internal/event"
)

// generator makes random expressions and random events to hold the fast path against CEL.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) path() string {
	p := pick(g, "data", "data", "data", "data", "event.data", "event")
	for range pick(g, 0, 1, 1, 1, 1, 1, 2, 2, 3) {
		switch g.IntN(10) {
		case 0:
			p += fmt.Sprintf("[%d]", g.IntN(4)-1)
		case 1:
			p += fmt.Sprintf("[%q]", pick(g, "a", "b", "ü", "", "a\"b", "zz"))
		default:
			p += "." + pick(g, "a", "a", "b", "b", "c", "d", "zz")
		}
	}
	return pick(g, p, p, p, p, p, p, "id", "source", "type", "subject", "event.subject", "event.ext", "event.id.x")
}

func (g generator) literal() string {
	return pick(g, "null", "true", "false", "0", "1", "-1", "5", "9007199254740993", "9223372036854775807", "0.0", "1.0", "5.5", "-2.5", "1e300", "''", "'a'",
		"'x'", "'ü'", "'5'", "'5.5'", "'charge.'", "1u")
}

// expression makes one that is mostly of a kind: "bool", "number" or "text". Now and then it is of another, and paths lead
// to anything.
func (g generator) expression(kind string, depth int) string {
	if g.IntN(12) == 0 {
		kind = pick(g, "bool", "number", "text")
	}
	if depth == 0 {
		return g.leaf(kind)
	}
	sub := func(kind string) string { return g.expression(kind, depth-1) }
	some := pick(g, "bool", "number", "number", "text")
	switch kind {
	case "bool":
		return g.condition(sub, some)
	case "number":
		switch g.IntN(8) {
		case 0:
			return "-(" + sub("number") + ")"
		case 1:
			return fmt.Sprintf("%s(%s)", pick(g, "double", "int"), sub(some))
		case 2:
			return fmt.Sprintf("size(%s)", sub("text"))
		case 3, 4, 5:
			return fmt.Sprintf("(%s %s %s)", sub("number"), pick(g, "+", "-", "*", "/"), sub("number"))
		}
	case "text":
		if g.IntN(8) == 0 {
			return fmt.Sprintf("(%s + %s)", sub("text"), sub("text"))
		}
	}
	if g.IntN(3) == 0 {
		return fmt.Sprintf("(%s ? %s : %s)", sub("bool"), sub(kind), sub(kind))
	}
	return g.leaf(kind)
}

func (g generator) leaf(kind string) string {
	if g.IntN(3) > 0 {
		return g.path()
	}
	switch kind {
	case "bool":
		return pick(g, "true", "false")
	case "number":
		return pick(g, "0", "1", "-1", "5", "9007199254740993", "9223372036854775807", "0.0", "1.0", "5.5", "-2.5", "1e300", "1u")
	case "text":
		return pick(g, "''", "'a'", "'x'", "'ü'", "'5'", "'5.5'", "'charge.'")
	}
	return g.literal()
}

func (g generator) condition(sub func(string) string, some string) string {
	switch g.IntN(12) {
	case 0, 1, 2:
		return fmt.Sprintf("(%s %s %s)", sub("bool"), pick(g, "&&", "||"), sub("bool"))
	case 3:
		return "!(" + sub("bool") + ")"
	case 4, 5:
		return fmt.Sprintf("(%s %s %s)", sub(some), pick(g, "==", "!="), sub(some))
	case 6, 7:
		return fmt.Sprintf("(%s %s %s)", sub(some), pick(g, "<", "<=", ">", ">="), sub(some))
	case 8:
		return "has(" + pick(g, "data", "event", "data.a", "data.b.c", g.path()) + pick(g, ".a", ".b", ".zz", ".ext", ".subject", ".data", ".time") + ")"
	case 9:
		return fmt.Sprintf("(%s in [%s, %s])", sub(some), g.literal(), g.literal())
	case 10:
		return fmt.Sprintf("(%s in %s)", sub(some), g.path())
	}
	if g.IntN(3) == 0 {
		return fmt.Sprintf("(%s).matches('%s')", sub("text"), pick(g, "^a", "[xü]", "", "5$"))
	}
	return fmt.Sprintf("(%s).%s(%s)", sub("text"), pick(g, "startsWith", "endsWith", "contains"), sub("text"))
}

func (g generator) space() string { return pick(g, "", "", "", " ", "\n  ", "\t") }

func (g generator) json(depth int) string {
	if depth > 0 && g.IntN(3) > 0 {
		n, list := g.IntN(5), g.IntN(3) == 0
		var parts []string
		for range n {
			item := g.space() + g.json(depth-1) + g.space()
			if !list {
				item = g.space() + pick(g, `"a"`, `"a"`, `"b"`, `"b"`, `"c"`, `"d"`, `"\u0061"`, `"\u00fc"`, `"ü"`, `""`, `"a\"b"`, `"\ud800"`) + g.space() + ":" + item
			}
			parts = append(parts, item)
		}
		if list {
			return "[" + strings.Join(parts, ",") + g.space() + "]"
		}
		return "{" + strings.Join(parts, ",") + g.space() + "}"
	}
	return pick(g, "null", "true", "false", "0", "-0", "1", "5", "5.5", "-2.5", "1e300", "1e999", "-1e999", "9007199254740993", "9223372036854775807", "1E-400",
		`""`, `"a"`, `"x"`, `"ü"`, `"\u00fc"`, `"5"`, `"5.5"`, `"abc\n\"d\""`, `"\ud83d\ude00"`, `"\udc00x"`, `"\u0000"`, `"NaN"`, `"a long text of more than eight bytes"`, `"back\\slash at the end\\"`)
}

func (g generator) event() event.Event {
	ev := event.Event{ID: "evt_1", Source: pick(g, "stripe", "a"), Type: pick(g, "charge.succeeded", "x"), Subject: pick(g, "", "a", "ü"), Time: time.Unix(1_700_000_000, 0)}
	switch g.IntN(10) {
	case 0:
	case 1, 2:
		ev.Data = []byte(g.json(4))
	default:
		ev.Data = fmt.Appendf(nil, `{"a":%s,%s"b":%s,"c":%s, "d":%s}`, g.json(2), g.space(), g.json(2), g.json(2), g.json(1))
	}
	if g.IntN(2) > 0 {
		ev.Extensions = []byte(pick(g, `{"ext":5}`, `{"ext":"a","b":true}`, `{"id":"not this one"}`))
	}
	return ev
}

func same(a, b value) bool {
	if a.kind != b.kind {
		// The fast path tells lists and maps from other things, CEL's answer is not looked into.
		return a.isContainer() && b.kind == kindOther
	}
	switch a.kind {
	case kindDouble:
		return a.bits == b.bits || a.isNaN() && b.isNaN()
	case kindBool, kindInt:
		return a.bits == b.bits
	case kindString:
		return string(a.text) == string(b.text)
	}
	return true
}

func show(v value) string {
	switch v.kind {
	case kindDouble:
		return fmt.Sprint("double ", v.double())
	case kindString:
		return fmt.Sprintf("string %q", v.text)
	}
	return fmt.Sprint("kind ", v.kind, " ", v.bits)
}

// tally counts what came of the comparisons, so that a test that compares nothing fails.
type tally struct{ compiled, fast, answered, bailed, errors int }

func differ(t *testing.T, env *cel.Env, g generator, n *tally) {
	source := g.expression(pick(g, "bool", "bool", "number", "text"), 1+g.IntN(4))
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", source, issues.Err())
	}
	widen(parsed.NativeRep().Expr())
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return
	}
	slow, err := plan(env, checked)
	if err != nil {
		return
	}
	n.compiled++
	e := expression{fast: (&paths{}).fast(checked.NativeRep().Expr()), slow: slow}
	if e.fast == nil {
		return
	}
	n.fast++
	var d Doc
	for range 8 {
		ev := g.event()
		d.Reset(&ev)
		d.scratch = d.scratch[:0]
		got := e.fast(&d)
		if got.kind == kindBail {
			n.bailed++
			continue
		}
		n.answered++
		if got.kind == kindError {
			n.errors++
		}
		if want := e.ask(&d); !same(got, want) {
			_, _, err := slow.Eval(variables{&d})
			t.Fatalf("%s\ndata %s\nextensions %s\nthe fast path says %s, CEL %s (%v)", source, ev.Data, ev.Extensions, show(got), show(want), err)
		}
	}
}

func newTestEnv(t testing.TB) *cel.Env {
	env, err := newEnv()
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestFastPathAgreesWithCEL(t *testing.T) {
	env, n := newTestEnv(t), tally{}
	rounds := uint64(20_000)
	if testing.Short() {
		rounds = 2_000
	}
	for seed := range rounds {
		differ(t, env, generator{rand.New(rand.NewPCG(seed, 1))}, &n)
	}
	t.Logf("%+v", n)
	if n.fast*2 < n.compiled || n.answered < 4*n.fast || n.errors*5 > n.answered*4 {
		t.Errorf("the comparison is not worth much: %+v", n)
	}
}

func FuzzFastPathAgreesWithCEL(f *testing.F) {
	env := newTestEnv(f)
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		differ(t, env, generator{rand.New(rand.NewPCG(a, b))}, &tally{})
	})
}

// FuzzExpressionOnData lets the fuzzer write both the expression and the data.
func FuzzExpressionOnData(f *testing.F) {
	env := newTestEnv(f)
	for _, s := range []string{"data.a / 100", `data.a in ["x", "y"] || has(data.b.c)`, `double(data.a) > 5 ? type : data["b"]`, "data.a.matches('^x')", "size(data.a) == data.b[0]"} {
		f.Add(s, []byte(`{"a":"x","b":[1,{"c":2}],"a":5.5}`))
	}
	f.Fuzz(func(t *testing.T, source string, data []byte) {
		if len(source) > 200 || strings.Contains(source, "{") && strings.Contains(source, "}") {
			return // maps have no order, so what a macro makes of them may differ from one evaluation to the next
		}
		e, problem := (&paths{}).compile(env, source, anyKind())
		if problem != "" || e.fast == nil {
			return
		}
		ev := event.Event{ID: "i", Source: "s", Type: "t", Subject: "u", Time: time.Unix(1, 0), Data: data}
		var d Doc
		d.Reset(&ev)
		got := e.fast(&d)
		if got.kind == kindBail {
			return
		}
		if want := e.ask(&d); !same(got, want) {
			t.Fatalf("%s on %q: the fast path says %s, CEL %s", source, data, show(got), show(want))
		}
	})
}

func anyKind() kinds {
	all := kinds{}
	for k := range 40 {
		all.allowed = append(all.allowed, types.Kind(k))
	}
	return all
}

func TestNumbersAtTheEdgesMeanWhatTheyMeanInCEL(t *testing.T) {
	env := newTestEnv(t)
	edges := []string{"0", "-0.0", "1", "9007199254740992", "9007199254740993", "9223372036854775807", "-9223372036854775808", "9223372036854774784", "9223372036854775808.0",
		"-9223372036854777856.0", "1e19", "1e308", "5e-324"}
	sources := []string{"int(data.x)", "double(data.x)", "-data.x", "data.x / data.x", "data.x in [9007199254740993, 1, 0]", "data.x in [9007199254740992.0, -0.0]"}
	for _, op := range []string{"==", "!=", "<", "<=", ">", ">="} {
		for _, b := range edges {
			sources = append(sources, "data.x "+op+" "+b)
		}
		// With an infinite x these are about NaN.
		for _, form := range []string{"data.x - data.x %s 1", "1 %s data.x - data.x", "data.x - data.x %s data.x - data.x", "data.x - data.x %s data.s", "data.s %s data.x - data.x", "null %s data.x - data.x"} {
			sources = append(sources, fmt.Sprintf(form, op))
		}
	}
	var d Doc
	for _, source := range sources {
		e, problem := (&paths{}).compile(env, source, anyKind())
		if problem != "" {
			continue // null has no order
		}
		for _, a := range append(edges, "1e999", "-1e999") {
			ev := event.Event{Data: []byte(`{"x":` + a + `,"s":"a"}`)}
			d.Reset(&ev)
			if got, want := e.fast(&d), e.ask(&d); !same(got, want) {
				t.Errorf("%s with x = %s: the fast path says %s, CEL %s", source, a, show(got), show(want))
			}
		}
	}
}
