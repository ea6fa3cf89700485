package metric

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/pulsestream/pulsestream/internal/event"
)

// program makes one of random expressions, some of them the plain ones that most are.
func (g generator) program(env *cel.Env) *Program {
	p := &Program{}
	compile := func(kind string) *expression {
		source := g.expression(kind, g.IntN(4))
		switch g.IntN(3) {
		case 0:
			source = g.path()
		case 1:
			source = fmt.Sprintf("%s %s %s", g.path(), pick(g, "==", "!=", "<", ">=", "+", "-", "*", "/"), g.literal())
			if g.IntN(4) == 0 {
				source = fmt.Sprintf("%s %s %s", g.literal(), pick(g, "==", "<", "<=", "/", "-"), g.path())
			}
		}
		e, _ := p.paths.compile(env, source, anyKind())
		return e
	}
	if g.IntN(3) == 0 {
		p.filter = compile("bool")
	}
	p.value = compile("number")
	for range g.IntN(4) {
		if e := compile("text"); e != nil {
			p.dimensions = append(p.dimensions, e)
		}
	}
	return p
}

// together holds programs that look at events together against each by itself, and each expression in both against CEL.
func together(t *testing.T, env *cel.Env, g generator, n *tally) {
	var list []*Program
	for range 1 + g.IntN(5) {
		list = append(list, g.program(env))
	}
	all := Together(list)
	var d, alone Doc
	var got []Observed
	for range 12 {
		ev := g.event()
		got = all.Observe(&d, &ev, got[:0])
		alone.Reset(&ev)
		k := 0
		for i, p := range list {
			n.compiled++
			labels, o, ok := p.Observe(&alone)
			here := k < len(got) && got[k].Program == i
			if here != ok {
				t.Fatalf("program %d on %s: together it observes %v, alone %v", i, ev.Data, here, ok)
			}
			if !ok {
				continue
			}
			n.answered++
			if got[k].Observation != o || string(d.Key(&got[k])) != labels.Key() {
				t.Fatalf("program %d on %s: together %+v of %q, alone %+v of %q", i, ev.Data, got[k].Observation, d.Key(&got[k]), o, labels)
			}
			k++
		}
		if all.read(&d) {
			for i, p := range list {
				d.local, d.scratch = all.local[i], d.scratch[:0]
				agreeWithCEL(t, p, &d, n)
			}
		}
	}
}

func agreeWithCEL(t *testing.T, p *Program, d *Doc, n *tally) {
	for _, e := range append([]*expression{p.filter, p.value}, p.dimensions...) {
		if e == nil || e.fast == nil {
			continue
		}
		n.fast++
		if got, want := e.eval(d), e.ask(d); !same(got, want) {
			t.Fatalf("on data %s, extensions %s the extraction says %s, CEL %s", d.ev.Data, d.ev.Extensions, show(got), show(want))
		}
	}
}

func TestProgramsTogetherObserveWhatEachDoesAlone(t *testing.T) {
	env, n := newTestEnv(t), tally{}
	rounds := uint64(5_000)
	if testing.Short() {
		rounds = 500
	}
	for seed := range rounds {
		together(t, env, generator{rand.New(rand.NewPCG(seed, 2))}, &n)
	}
	t.Logf("%+v", n)
	if n.answered*5 < n.compiled || n.fast < n.compiled {
		t.Errorf("the comparison is not worth much: %+v", n)
	}
}

func FuzzProgramsTogetherObserveWhatEachDoesAlone(f *testing.F) {
	env := newTestEnv(f)
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		together(t, env, generator{rand.New(rand.NewPCG(a, b))}, &tally{})
	})
}

// FuzzExtraction lets the fuzzer write the data: whatever it is there is no panic, and of JSON an extraction reads what a tape has.
func FuzzExtraction(f *testing.F) {
	env := newTestEnv(f)
	p := &Program{}
	for _, source := range []string{"data.a", "data.a.b", "data.a[1]", "data.a[1].b", "data.b", "data.a.b.c", "data.abcdefghi", "data[0]", "data.b == 5", "data.a / 100"} {
		e, problem := p.paths.compile(env, source, anyKind())
		if problem != "" {
			f.Fatal(problem)
		}
		p.dimensions = append(p.dimensions, e)
	}
	all := Together([]*Program{p})
	for _, s := range []string{`{"a":"x","b":[1,{"c":2}],"a":5.5}`, `{"a":{"b":{"c":1}},"abcdefghi":true}`, `{"a":[0,{"b":"\u0041"}],"\u0062":-0.5e3}`, `[{"a":1}]`, `{"a":"\\"}`, " 1 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ev := event.Event{Data: data}
		var d, alone Doc
		got := all.Observe(&d, &ev, nil)
		var s event.Scanner
		if end, err := s.Value(data, 0); err != nil || event.Space(data, end) != len(data) {
			return
		}
		alone.Reset(&ev)
		labels, _, _ := p.Observe(&alone)
		if len(got) != 1 || string(d.Key(&got[0])) != labels.Key() {
			t.Fatalf("of %q together %q is read, alone %q", data, d.Key(&got[0]), labels)
		}
	})
}
