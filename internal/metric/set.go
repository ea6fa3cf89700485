package metric

import (
	"slices"
	"strings"
)

// Set is a tenant's programs, indexed by the type of event they are about. It never changes and is safe for concurrent use.
type Set struct {
	all    []*Program
	byID   map[int64]*Program
	bySlug map[string]*Program
	// exact has the programs for each type that some definition spells out, prefixes those for each prefix that some
	// definition leaves open, "" among them: both complete, so that one look-up answers.
	exact    map[string][]*Program
	prefixes map[string][]*Program
	lengths  []int // of the prefixes, longest first
}

// NewSet indexes programs. Of two with one id or slug the later counts.
func NewSet(programs []*Program) *Set {
	s := &Set{
		all: slices.Clone(programs), byID: map[int64]*Program{}, bySlug: map[string]*Program{},
		exact: map[string][]*Program{}, prefixes: map[string][]*Program{"": nil},
	}
	for _, p := range programs {
		s.byID[p.def.ID], s.bySlug[p.def.Slug] = p, p
		for _, pattern := range p.def.EventTypes {
			if prefix, open := strings.CutSuffix(pattern, "*"); open {
				s.prefixes[prefix] = nil
			} else {
				s.exact[pattern] = nil
			}
		}
	}
	for t := range s.exact {
		s.exact[t] = s.matching(func(p *Program) bool { return p.MatchesType(t) })
	}
	for prefix := range s.prefixes {
		s.prefixes[prefix] = s.matching(func(p *Program) bool { return p.takesAllOf(prefix) })
		if !slices.Contains(s.lengths, len(prefix)) {
			s.lengths = append(s.lengths, len(prefix))
		}
	}
	slices.SortFunc(s.lengths, func(a, b int) int { return b - a })
	return s
}

func (s *Set) matching(is func(*Program) bool) []*Program {
	var out []*Program
	for _, p := range s.all {
		if is(p) {
			out = append(out, p)
		}
	}
	return out
}

// takesAllOf says whether the metric is about every type that begins with prefix.
func (p *Program) takesAllOf(prefix string) bool {
	return len(p.def.EventTypes) == 0 || slices.ContainsFunc(p.def.EventTypes, func(pattern string) bool {
		own, open := strings.CutSuffix(pattern, "*")
		return open && strings.HasPrefix(prefix, own)
	})
}

// For lists the programs about events of a type, in the order they were given. The list must not be changed.
func (s *Set) For(eventType string) []*Program {
	if list, ok := s.exact[eventType]; ok {
		return list
	}
	// The prefixes that a type begins with begin with each other, so the longest one's programs are all.
	for _, n := range s.lengths {
		if n <= len(eventType) {
			if list, ok := s.prefixes[eventType[:n]]; ok {
				return list
			}
		}
	}
	return nil
}

// All lists every program, in the order they were given. The list must not be changed.
func (s *Set) All() []*Program { return s.all }

// ByID finds a program by the generation of its definition.
func (s *Set) ByID(id int64) (*Program, bool) {
	p, ok := s.byID[id]
	return p, ok
}

// BySlug finds a program by its metric's slug.
func (s *Set) BySlug(slug string) (*Program, bool) {
	p, ok := s.bySlug[slug]
	return p, ok
}
