package lease

import (
	"cmp"
	"slices"
	"time"
)

const (
	// beatEvery is how often a worker is heard of, and lost after what silence its partitions are anybody's.
	beatEvery = 500 * time.Millisecond
	lost      = 2500 * time.Millisecond
	// deaf is after what time without its own beats a worker knows that it is the one that hears nothing.
	deaf = 1500 * time.Millisecond
	// settling is how long a new worker listens before it decides anything.
	settling = 2 * beatEvery
)

// Member is a worker as it was last heard of.
type Member struct {
	Name  string
	Heard time.Time
	Holds []int
}

// Decide says which of the partitions 0 to n-1 the member me holds from now on, in order: those that it keeps, and those that it takes up. Members
// that were not heard lately don't count, but for me. Everybody who has heard the same decides so that the shares fit together, and
// differ by one at most.
func Decide(me string, n int, members []Member, now time.Time) []int {
	alive := make([]*share, 0, len(members))
	for i := range members {
		if m := &members[i]; m.Name == me || now.Sub(m.Heard) <= lost {
			alive = append(alive, &share{name: m.Name, said: m.Holds})
		}
	}
	slices.SortFunc(alive, func(a, b *share) int { return cmp.Compare(a.name, b.name) })
	// Who holds what. Of several who name the same partition, the first keeps it.
	holders := make([]*share, n)
	for _, s := range alive {
		for _, p := range s.said {
			if p >= 0 && p < n && holders[p] == nil {
				holders[p] = s
				s.holds = append(s.holds, p)
			}
		}
	}
	// The larger shares go to those who have more already: so nothing moves that need not.
	order := slices.Clone(alive)
	slices.SortStableFunc(order, func(a, b *share) int { return cmp.Compare(len(b.holds), len(a.holds)) })
	for i, s := range order {
		s.most = n / len(order)
		if i < n%len(order) {
			s.most++
		}
		slices.Sort(s.holds)
		s.holds = s.holds[:min(len(s.holds), s.most)] // what is beyond is let go, and free only when it is no longer named
	}
	for p, holder := range holders {
		if holder != nil {
			continue
		}
		roomiest := order[0]
		for _, s := range order {
			if s.room() > roomiest.room() {
				roomiest = s
			}
		}
		roomiest.holds = append(roomiest.holds, p)
	}
	for _, s := range alive {
		if s.name == me {
			slices.Sort(s.holds)
			return s.holds
		}
	}
	return nil
}

// share is what a member holds and is to hold.
type share struct {
	name  string
	said  []int
	holds []int
	most  int
}

func (s *share) room() int { return s.most - len(s.holds) }
