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
// somebody else out from one place; and it does not hold where the account has come in from before, so that nobody does from many.
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

// Of the places that accounts have come in from: how many are remembered, and how long.
const (
	maxKnown = 50_000
	knownFor = 30 * 24 * time.Hour
)

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
	known map[failureKey]time.Time // an account and a network that it has come in from, and until when that counts
}

type failureKey struct {
	what    int
	account string
	address string
}

func newFailures() *failures {
	return &failures{until: map[failureKey]time.Time{}, known: map[failureKey]time.Time{}}
}

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

// keys are those that an attempt is charged to.
func (f *failures) keys(t tenant.ID, email, address string, now time.Time) []failureKey {
	keys := keysOf(t, email, address)
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Before(f.known[keys[perPair]]) {
		return []failureKey{keys[perPair], keys[perAddress]}
	}
	return keys[:]
}

// take charges an attempt, or is a *LimitedError.
func (f *failures) take(t tenant.ID, email, address string, now time.Time) error {
	return f.charge(f.keys(t, email, address, now), now)
}

// takeSession charges an attempt of somebody who is signed in: it is nobody else's affair, and nobody else's failures are theirs.
func (f *failures) takeSession(t tenant.ID, session string, now time.Time) error {
	return f.charge(keyOfSession(t, session), now)
}

func (f *failures) giveSession(t tenant.ID, session string) { f.giveBack(keyOfSession(t, session)) }

func keyOfSession(t tenant.ID, session string) []failureKey {
	return []failureKey{{perPair, string(t) + "\x00session\x00" + session, ""}}
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
		makeRoom(f.until, maxFailures*9/10, now)
	}
	for _, k := range keys {
		f.until[k] = later(f.until[k], now).Add(limits[k.what].every)
	}
	return nil
}

// forgive gives an attempt back that was right. With all, the account has come in: what it has failed before from this address is forgotten, and
// the place is remembered.
func (f *failures) forgive(t tenant.ID, email, address string, all bool, now time.Time) {
	f.giveBack(f.keys(t, email, address, now))
	if !all {
		return
	}
	pair := keysOf(t, email, address)[perPair]
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, pair)
	if len(f.known) >= maxKnown {
		makeRoom(f.known, maxKnown*9/10, now)
	}
	f.known[pair] = now.Add(knownFor)
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

// makeRoom drops what is over, and anything at all if not enough is.
func makeRoom(of map[failureKey]time.Time, most int, now time.Time) {
	for k, at := range of {
		if !at.After(now) {
			delete(of, k)
		}
	}
	for k := range of {
		if len(of) <= most {
			return
		}
		delete(of, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
