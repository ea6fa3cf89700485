package signin

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// allowance is how many failures there may be at once, and how long until there may be one more.
type allowance struct {
	burst int
	every time.Duration
}

// What an account may fail from one address, an account from anywhere, and an address with any account. The second is wide, so that nobody locks
// somebody else out from one place.
const (
	perPair = iota
	perAccount
	perAddress
)

func allowances() [3]allowance {
	return [3]allowance{perPair: {10, time.Minute}, perAccount: {50, 30 * time.Second}, perAddress: {60, 10 * time.Second}}
}

// maxFailures bounds memory: about 150 bytes each.
const maxFailures = 100_000

// LimitedError means: there were too many failures; wait.
type LimitedError struct{ Wait time.Duration }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many sign-ins have failed: try again in %s", e.Wait.Round(time.Second))
}

// failures counts failed sign-ins, in this process. Accounts that do not exist have their count too. Each attempt is charged before it is looked at,
// so that many at the same time gain nothing, and what was right is given back.
type failures struct {
	mu    sync.Mutex
	until map[failureKey]time.Time // when all would be free again: the generic cell rate algorithm
}

type failureKey struct {
	what    int
	account string
	address string
}

func newFailures() *failures { return &failures{until: map[failureKey]time.Time{}} }

func keysOf(t tenant.ID, email, address string) [3]failureKey {
	account := string(t) + "\x00" + auth.FoldEmail(email)
	from := network(address)
	return [3]failureKey{perPair: {perPair, account, from}, perAccount: {perAccount, account, ""}, perAddress: {perAddress, "", from}}
}

// network is what somebody holds of addresses: one of IPv4, or a /64.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}

// take charges an attempt, or is a *LimitedError.
func (f *failures) take(t tenant.ID, email, address string, now time.Time) error {
	keys := keysOf(t, email, address)
	return f.charge(keys[:], now)
}

// takeAddress charges an attempt that names no account.
func (f *failures) takeAddress(address string, now time.Time) error {
	return f.charge([]failureKey{{perAddress, "", network(address)}}, now)
}

func (f *failures) charge(keys []failureKey, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	limits, wait := allowances(), time.Duration(0)
	for _, k := range keys {
		used := max(0, f.until[k].Sub(now)) // a time that was never set lies further back than a Duration reaches
		wait = max(wait, used-time.Duration(limits[k.what].burst-1)*limits[k.what].every)
	}
	if wait > 0 {
		return &LimitedError{Wait: wait}
	}
	if len(f.until) > maxFailures-len(keys) {
		f.makeRoom(now)
	}
	for _, k := range keys {
		f.until[k] = later(f.until[k], now).Add(limits[k.what].every)
	}
	return nil
}

// forgive gives an attempt back that was right. With all, what the account has failed before from this address is forgotten.
func (f *failures) forgive(t tenant.ID, email, address string, all bool) {
	keys := keysOf(t, email, address)
	f.giveBack(keys[:])
	if all {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.until, keys[perPair])
	}
}

func (f *failures) giveAddress(address string) {
	f.giveBack([]failureKey{{perAddress, "", network(address)}})
}

func (f *failures) giveBack(keys []failureKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		if at, ok := f.until[k]; ok {
			f.until[k] = at.Add(-allowances()[k.what].every)
		}
	}
}

// makeRoom drops what is free again, and anything at all if nothing is.
func (f *failures) makeRoom(now time.Time) {
	for k, at := range f.until {
		if !at.After(now) {
			delete(f.until, k)
		}
	}
	for k := range f.until {
		if len(f.until) <= maxFailures*9/10 {
			return
		}
		delete(f.until, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
