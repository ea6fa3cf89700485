package limit

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Reasons to refuse a request.
var (
	// ErrNoMemory: the tenant has as many bytes in the server as are left for everybody else.
	ErrNoMemory = errors.New("too many requests of this tenant are under way")
	// ErrBehind: the tenant has as many bytes waiting to be processed as are left for everybody else.
	ErrBehind = errors.New("too much of this tenant waits to be processed")
)

// Room is shared by tenants, without anybody saying how many there are or what each one's share is. A tenant may have as much of it
// as it leaves free: alone it gets half, and k tenants that want all they can get have the k+1st part each, while that much
// stays free for one that comes now. (In switches this is called a dynamic threshold.) A tenant with less than that part gets more in any
// case as long as there is something, and a quarter of it even then, so that nobody is refused because of others who have more. The room
// can so be overfilled by a quarter.
//
// There are two rooms in it. In memory, a request has its place from before its body is read until it is answered. In the backlog, what it
// has brought has its place until it is processed. Bytes are those of bodies and of encoded events, which differ little.
type Room struct {
	mu      sync.Mutex
	memory  account
	backlog account
	open    bool // the backlog has no bound
	written int64
}

// account is how much of something there is and who has it.
type account struct {
	size, used int64
	by         map[tenant.ID]int64
}

func newAccount(size int64) account { return account{size: size, by: map[tenant.ID]int64{}} }

// fits says whether a tenant that has some of a room may have n more. A little is for each in any case: a room that has become
// smaller, because work goes slower than it did, is too full, and not by those who have hardly anything in it.
func fits(has, n, free, share int64) bool {
	return n <= free && has+n <= max(free, share) || has+n <= share/4
}

// share is what each of the tenants that have something would have, and one more; t is one of them.
func (a *account) share(t tenant.ID) int64 {
	tenants := int64(len(a.by)) + 1
	if _, known := a.by[t]; !known {
		tenants++
	}
	return a.size / tenants
}

func (a *account) add(t tenant.ID, n int64) {
	a.used += n
	if a.by[t] += n; a.by[t] == 0 {
		delete(a.by, t)
	}
}

// leave takes out as much as makes these tenants have no more than n, from each the same, but from nobody more than it has: the room that
// becomes free is shared like the work that made it free.
func (a *account) leave(left int64, of func(tenant.ID) bool) {
	type one struct {
		tenant tenant.ID
		has    int64
	}
	all := make([]one, 0, len(a.by))
	n := -left
	for t, has := range a.by {
		if of(t) {
			all = append(all, one{t, has})
			n += has
		}
	}
	if n <= 0 {
		return
	}
	slices.SortFunc(all, func(x, y one) int { return cmp.Compare(x.has, y.has) })
	for i, o := range all {
		part := min(o.has, n/int64(len(all)-i))
		n -= part
		a.add(o.tenant, -part)
	}
}

// NewRoom makes room for so many bytes in memory, and no bound for the backlog until it is set.
func NewRoom(memory int64) *Room {
	return &Room{memory: newAccount(memory), backlog: newAccount(0), open: true}
}

// Enter takes room for a request of n bytes; the error says why there is none.
func (r *Room) Enter(t tenant.ID, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, b := &r.memory, &r.backlog
	if !fits(m.by[t], n, m.size-m.used, m.share(t)) {
		return ErrNoMemory
	}
	// What is under way will be backlog soon.
	if !r.open && !fits(b.by[t]+m.by[t], n, b.size-b.used-m.used, b.share(t)) {
		return ErrBehind
	}
	m.add(t, n)
	return nil
}

// Grow takes room for n bytes more of a request that has entered.
func (r *Room) Grow(t tenant.ID, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.memory
	if !fits(m.by[t], n, m.size-m.used, m.share(t)) {
		return ErrNoMemory
	}
	m.add(t, n)
	return nil
}

// Leave gives back the room of a request of n bytes, of which so many are written to the log, where they wait.
func (r *Room) Leave(t tenant.ID, n, written int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory.add(t, -n)
	r.backlog.add(t, written)
	r.written += written
}

// Written is how much has been written to the log in all.
func (r *Room) Written() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written
}

// Bound says how much may wait to be processed, in the bytes that Leave was given.
func (r *Room) Bound(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.size, r.open = size, false
}

// Processed says that of what these tenants have written, whose events are processed in one line, no more than so much still waits.
func (r *Room) Processed(waiting int64, of func(tenant.ID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.leave(waiting, of)
}

// Used is how much is in memory and in the backlog.
func (r *Room) Used() (memory, backlog int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memory.used, r.backlog.used
}
