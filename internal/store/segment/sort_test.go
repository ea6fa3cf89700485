package segment

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func TestRowsAreSortedByTypeTimeAndPlaceInTheLog(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	var s sorter
	for _, n := range []int{1, 2, manyRows - 1, 4 * manyRows, 20 * manyRows} {
		for name, span := range map[string]int64{"one time": 1, "few times": 5, "a second": 1e9, "an hour": 3600e9, "a year": 365 * 24 * 3600e9} {
			for _, mixed := range []bool{false, true} {
				var tail Tail
				for i := range n {
					ev := event.Stored{Tenant: "t", Position: event.Position{Seq: 5 + uint64(i/100), Index: uint32(i % 100)}}
					if mixed && i%7 == 0 {
						ev.Seq = 1 + uint64(r.IntN(4))
						ev.Index = uint32(i)
					}
					ev.ID, ev.Type = fmt.Sprint(i), []string{"b", "a"}[r.IntN(2)]
					ev.Time = time.Unix(-1e9, r.Int64N(span))
					tail.Add(&ev)
				}
				v, _ := tail.View("t")
				var want []*row
				v.each(func(x *row) { want = append(want, x) })
				slices.SortFunc(want, func(x, y *row) int {
					return cmp.Or(cmp.Compare(v.names[x.kind], v.names[y.kind]), cmp.Compare(x.time, y.time), cmp.Compare(x.seq, y.seq), cmp.Compare(x.index, y.index))
				})
				if v.mixed != (mixed && n > 2) {
					t.Errorf("%d rows: mixed is %v", n, v.mixed)
				}
				if got := s.sort(&v); !slices.Equal(got, want) {
					t.Errorf("%d rows of %s, mixed %v, are not in order", n, name, mixed)
				}
				s.forget()
				for _, keys := range [][]sortKey{s.keys[:cap(s.keys)], s.more[:cap(s.more)]} {
					if slices.ContainsFunc(keys, func(k sortKey) bool { return k.row != nil }) || slices.ContainsFunc(s.rows, func(r *row) bool { return r != nil }) {
						t.Error("a row is kept")
					}
				}
			}
		}
	}
}
