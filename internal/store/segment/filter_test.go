package segment

import (
	"math/rand/v2"
	"testing"
)

func TestAFilterHasAllThatWasAddedAndLittleElse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 100, 10_000, 50_000} {
		filter := newFilter(n)
		added := make([]uint64, n)
		for i := range added {
			added[i] = r.Uint64()
			addToFilter(filter, added[i])
		}
		has := func(h uint64) bool {
			at := line(h, len(filter))
			return mayHave(filter[at:at+lineBytes], h)
		}
		for _, h := range added {
			if !has(h) {
				t.Fatalf("a filter of %d lacks one", n)
			}
		}
		wrong := 0
		const looks = 200_000
		for range looks {
			if has(r.Uint64()) {
				wrong++
			}
		}
		if share := float64(wrong) / looks; n >= 10_000 && share > 0.004 {
			t.Errorf("of a filter of %d, %.2f %% of what is not there passes", n, share*100)
		}
	}
}
