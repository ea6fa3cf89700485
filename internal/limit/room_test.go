package limit_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// fill lets a tenant have all that it can get, in requests of n bytes, and says how much that is.
func fill(r *limit.Room, t tenant.ID, n int64) (got int64) {
	for r.Enter(t, n) == nil {
		got += n
	}
	return got
}

func TestTheRoomIsSharedByThoseWhoWantIt(t *testing.T) {
	r := limit.NewRoom(1200)
	if got := fill(r, "a", 1); got != 600 {
		t.Errorf("alone, a tenant has %d of 1200", got)
	}
	if got := fill(r, "b", 1); got != 400 {
		t.Errorf("when another has half, the next has %d; a third is its part", got)
	}
	r.Leave("a", 600, 0) // a's requests end; both go on asking
	for range 10_000 {
		for _, id := range []tenant.ID{"a", "b"} {
			if r.Enter(id, 1) != nil {
				r.Leave(id, 1, 0)
			}
		}
	}
	if memory, _ := r.Used(); memory < 780 || memory > 800 {
		t.Errorf("two tenants that want all they can get have %d of 1200 together, a third each is 800", memory)
	}
	if err := r.Enter("new", 390); err != nil {
		t.Errorf("one that comes now is refused less than its share: %v", err)
	}
}

func TestATenantBelowItsShareIsNeverRefused(t *testing.T) {
	const size, tenants = 10_000, 4
	r := limit.NewRoom(size)
	behind(r, size, 0)
	chance := rand.New(rand.NewPCG(1, 1))
	type request struct {
		tenant tenant.ID
		n      int64
	}
	var under []request
	mine := int64(0)
	for range 100_000 {
		// The others want everything.
		other := tenant.ID(fmt.Sprint("flood", chance.IntN(tenants-1)))
		if n := int64(1 + chance.IntN(100)); r.Enter(other, n) == nil {
			under = append(under, request{other, n})
		}
		// This one has at most three requests at a time, and less than its share.
		if n := int64(1 + chance.IntN(300)); mine+n <= size/(tenants+1) && chance.IntN(3) == 0 {
			if err := r.Enter("calm", n); err != nil {
				m, b := r.Used()
				t.Fatalf("a tenant with %d and %d more is refused: %v (memory %d, backlog %d)", mine, n, err, m, b)
			}
			mine += n
			under = append(under, request{"calm", n})
		}
		if len(under) > 0 && chance.IntN(2) == 0 {
			i := chance.IntN(len(under))
			q := under[i]
			under[i] = under[len(under)-1]
			under = under[:len(under)-1]
			r.Leave(q.tenant, q.n, 0)
			if q.tenant == "calm" {
				mine -= q.n
			}
		}
	}
}

func TestWhatIsProcessedFreesTheRoomOfThoseWhoHaveLittleFirst(t *testing.T) {
	r := limit.NewRoom(1 << 40)
	behind(r, 10_000, 0)
	write := func(id tenant.ID, n int64) {
		t.Helper()
		if err := r.Enter(id, n); err != nil {
			t.Fatal(err)
		}
		r.Leave(id, n, n)
	}
	write("flood", 4000)
	write("calm", 100)
	if err := r.Enter("flood", 3000); !errors.Is(err, limit.ErrBehind) {
		t.Errorf("a tenant may have more than it leaves: %v", err)
	}
	behind(r, 10_000, 3900) // 200 were processed: 100 of each
	if _, backlog := r.Used(); backlog != 3900 {
		t.Errorf("%d wait, want 3900", backlog)
	}
	behind(r, 10_000, 0)
	write("flood", 5000)
	write("flood", 0)
	behind(r, 1200, 5000) // the workers have become slow: nobody may add anything but a little, until less waits
	if err := r.Enter("flood", 1); !errors.Is(err, limit.ErrBehind) {
		t.Errorf("got %v", err)
	}
	if err := r.Enter("calm", 101); !errors.Is(err, limit.ErrBehind) {
		t.Errorf("got %v", err)
	}
	if err := r.Enter("calm", 100); err != nil { // a quarter of a third
		t.Error(err)
	}
	behind(r, 1200, 100)
	if err := r.Enter("calm", 800); err != nil {
		t.Error(err)
	}
}

func TestMemoryIsBoundedAndGivenBack(t *testing.T) {
	r := limit.NewRoom(1000)
	if err := r.Enter("a", 400); err != nil {
		t.Fatal(err)
	}
	if err := r.Grow("a", 200); err != nil { // 400 of 400, 600 are free
		t.Fatal(err)
	}
	if err := r.Grow("a", 1); !errors.Is(err, limit.ErrNoMemory) {
		t.Errorf("got %v", err)
	}
	r.Leave("a", 600, 0)
	if memory, backlog := r.Used(); memory != 0 || backlog != 0 {
		t.Errorf("%d, %d are kept", memory, backlog)
	}
}

func behind(r *limit.Room, size, waiting int64) {
	r.Bound(size)
	r.Processed(waiting, func(tenant.ID) bool { return true })
}

func TestWhatIsProcessedOfSomeFreesNoRoomOfOthers(t *testing.T) {
	r := limit.NewRoom(1 << 40)
	r.Bound(10_000)
	for _, id := range []tenant.ID{"stuck", "brisk"} {
		if err := r.Enter(id, 2000); err != nil {
			t.Fatal(err)
		}
		r.Leave(id, 2000, 2000)
	}
	r.Processed(0, func(id tenant.ID) bool { return id == "brisk" })
	if _, backlog := r.Used(); backlog != 2000 {
		t.Errorf("%d wait, want the 2000 of the one that is stuck", backlog)
	}
	if err := r.Enter("brisk", 3000); err != nil {
		t.Errorf("nothing waits of this one: %v", err)
	}
}
