package limit

import "github.com/pulsestream/pulsestream/internal/tenant"

// Queue holds what waits, and gives it out in turn: one of each tenant's, each tenant's in the order they came. So what a tenant
// puts into it waits for at most one of every other tenant's, however much those have there. The zero value is ready; it is not
// safe for concurrent use.
type Queue[T any] struct {
	ring    []*line[T] // tenants that have something waiting; the first is next
	tenants map[tenant.ID]*line[T]
	n       int
}

type line[T any] struct {
	tenant tenant.ID
	items  []T
}

// Len is how much waits.
func (q *Queue[T]) Len() int { return q.n }

// Push adds v to what waits of a tenant.
func (q *Queue[T]) Push(t tenant.ID, v T) {
	l := q.tenants[t]
	if l == nil {
		if q.tenants == nil {
			q.tenants = map[tenant.ID]*line[T]{}
		}
		l = &line[T]{tenant: t}
		q.tenants[t] = l
		q.ring = append(q.ring, l)
	}
	l.items = append(l.items, v)
	q.n++
}

// Peek is what Pop would return.
func (q *Queue[T]) Peek() (v T, ok bool) {
	if len(q.ring) == 0 {
		return v, false
	}
	return q.ring[0].items[0], true
}

// Pop takes out what is next.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if v, ok = q.Peek(); !ok {
		return v, false
	}
	l := q.ring[0]
	var none T
	l.items[0] = none
	l.items = l.items[1:]
	q.n--
	if len(q.ring) == 1 && len(l.items) > 0 {
		return v, true // it is the next one again
	}
	q.ring[0] = nil
	q.ring = q.ring[1:]
	if len(l.items) > 0 {
		q.ring = append(q.ring, l)
	} else {
		delete(q.tenants, l.tenant)
	}
	return v, true
}

// Remove takes out the first of a tenant's that is as match says.
func (q *Queue[T]) Remove(t tenant.ID, match func(T) bool) bool {
	l := q.tenants[t]
	if l == nil {
		return false
	}
	for i := range l.items {
		if !match(l.items[i]) {
			continue
		}
		l.items = append(l.items[:i:i], l.items[i+1:]...)
		q.n--
		if len(l.items) == 0 {
			delete(q.tenants, t)
			for k := range q.ring {
				if q.ring[k] == l {
					q.ring = append(q.ring[:k:k], q.ring[k+1:]...)
					break
				}
			}
		}
		return true
	}
	return false
}
