package lease

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPartitionsAreSharedOut(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	is := func(name string, holds ...int) Member { return Member{Name: name, Heard: now, Holds: holds} }
	silent := func(d time.Duration, name string, holds ...int) Member {
		return Member{Name: name, Heard: now.Add(-d), Holds: holds}
	}
	for what, at := range map[string]struct {
		n       int
		members []Member
		want    map[string][]int
	}{
		"one worker takes all": {4, []Member{is("a")}, map[string][]int{"a": {0, 1, 2, 3}}},
		"two that begin together take halves": {4, []Member{is("a"), is("b")},
			map[string][]int{"a": {0, 2}, "b": {1, 3}}},
		"one that joins takes nothing that another still holds": {4, []Member{is("a", 0, 1, 2, 3), is("b")},
			map[string][]int{"a": {0, 1}, "b": nil}},
		"it takes what was let go": {4, []Member{is("a", 0, 1), is("b")},
			map[string][]int{"a": {0, 1}, "b": {2, 3}}},
		"what is settled stays":                {5, []Member{is("a", 1, 3), is("b", 0, 2, 4)}, map[string][]int{"a": {1, 3}, "b": {0, 2, 4}}},
		"a third takes one of the larger ones": {5, []Member{is("a", 0, 1, 2), is("b", 3, 4), is("c")}, map[string][]int{"a": {0, 1}, "b": {3, 4}, "c": nil}},
		"the dead one's are taken over":        {4, []Member{is("a", 0, 1), silent(lost+1, "b", 2, 3)}, map[string][]int{"a": {0, 1, 2, 3}}},
		"one that was silent for a moment keeps its own": {4, []Member{is("a", 0, 1), silent(lost, "b", 2, 3)},
			map[string][]int{"a": {0, 1}}},
		"of two that hold the same one lets go":   {2, []Member{is("a", 0), is("b", 0)}, map[string][]int{"a": {0}, "b": {1}}},
		"more workers than partitions":            {2, []Member{is("a", 0), is("b", 1), is("c")}, map[string][]int{"a": {0}, "b": {1}, "c": nil}},
		"what is said of no partition is nothing": {1, []Member{is("a", 7, -1), is("b", 0)}, map[string][]int{"a": nil, "b": {0}}},
	} {
		t.Run(what, func(t *testing.T) {
			for name, want := range at.want {
				if got := Decide(name, at.n, at.members, now); !slices.Equal(got, want) {
					t.Errorf("%s holds %v, want %v", name, got, want)
				}
			}
		})
	}
}

// TestFromAnyBeginningAllSettle has members act on what they have heard in rounds, some of which miss some of it.
func TestFromAnyBeginningAllSettle(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1_000_000, 0)
		n := 1 + r.IntN(12)
		members := make([]Member, 1+r.IntN(5))
		for i := range members {
			members[i] = Member{Name: fmt.Sprint("w", i), Heard: now}
			for p := range n {
				if r.IntN(3) == 0 {
					members[i].Holds = append(members[i].Holds, p)
				}
			}
		}
		for round := range 10 {
			before := slices.Clone(members)
			for i := range members {
				if round < 4 && r.IntN(3) == 0 {
					continue // it has not come to decide yet
				}
				members[i].Holds = Decide(members[i].Name, n, before, now)
			}
		}
		holders := make([]int, n)
		least, most := n, 0
		for i := range members {
			for _, p := range members[i].Holds {
				holders[p]++
			}
			least, most = min(least, len(members[i].Holds)), max(most, len(members[i].Holds))
		}
		if slices.ContainsFunc(holders, func(k int) bool { return k != 1 }) || most-least > 1 {
			t.Fatalf("seed %d: %d partitions settle as %+v", seed, n, members)
		}
	}
}
