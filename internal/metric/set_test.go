package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func slugs(programs []*Program) []string {
	var out []string
	for _, p := range programs {
		out = append(out, p.Definition().Slug)
	}
	return out
}

func TestSetFindsTheProgramsOfAType(t *testing.T) {
	var programs []*Program
	for i, d := range []Definition{
		{Slug: "all"}, {Slug: "charges", EventTypes: []string{"charge.*"}}, {Slug: "paid", EventTypes: []string{"charge.succeeded", "order.paid"}},
		{Slug: "disputes", EventTypes: []string{"charge.dispute.*"}}, {Slug: "star", EventTypes: []string{"*"}}, {Slug: "exact-and-open", EventTypes: []string{"charge.succeeded", "ch*"}},
	} {
		d.ID = int64(i + 10)
		programs = append(programs, mustCompile(t, d))
	}
	s := NewSet(programs)
	for eventType, want := range map[string][]string{
		"charge.succeeded":       {"all", "charges", "paid", "star", "exact-and-open"},
		"charge.failed":          {"all", "charges", "star", "exact-and-open"},
		"charge.dispute.created": {"all", "charges", "disputes", "star", "exact-and-open"},
		"charge.":                {"all", "charges", "star", "exact-and-open"},
		"charge":                 {"all", "star", "exact-and-open"},
		"order.paid":             {"all", "paid", "star"},
		"order.paid.x":           {"all", "star"},
		"":                       {"all", "star"},
	} {
		if got := slugs(s.For(eventType)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", eventType, got, want)
		}
	}
	if p, ok := s.ByID(12); !ok || p.Definition().Slug != "paid" {
		t.Error("not found by id")
	}
	if p, ok := s.BySlug("charges"); !ok || p.Definition().ID != 11 {
		t.Error("not found by slug")
	}
	if _, ok := s.BySlug("nope"); ok {
		t.Error("found what is not there")
	}
	if len(NewSet(nil).For("x")) != 0 {
		t.Error("an empty set has programs")
	}
}

func TestSetAgreesWithAskingEachProgram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = "ab."[r.IntN(3)]
		}
		return string(b)
	}
	for range 300 {
		var programs []*Program
		for i := range r.IntN(8) {
			p := &Program{def: Definition{ID: int64(i)}}
			for range r.IntN(4) {
				p.def.EventTypes = append(p.def.EventTypes, word()+[]string{"", "*", "x"}[r.IntN(3)])
			}
			programs = append(programs, p)
		}
		s := NewSet(programs)
		for range 50 {
			eventType := word() + []string{"", "x"}[r.IntN(2)]
			var want []*Program
			for _, p := range programs {
				if p.MatchesType(eventType) {
					want = append(want, p)
				}
			}
			if got := s.For(eventType); !slices.Equal(got, want) {
				t.Fatalf("%q: %d programs, want %d", eventType, len(got), len(want))
			}
		}
	}
}

func TestLookingUpATypeAllocatesNothing(t *testing.T) {
	s := NewSet([]*Program{mustCompile(t, Events("default")), mustCompile(t, revenue())})
	if n := testing.AllocsPerRun(100, func() { s.For("charge.succeeded"); s.For("unknown") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
