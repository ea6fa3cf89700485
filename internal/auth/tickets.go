package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

const (
	// TicketTTL is how long a ticket is good for.
	TicketTTL = 30 * time.Second
	// ticketCount bounds memory: about 200 bytes each.
	ticketCount = 16_384
	ticketBytes = 32
)

// Tickets gives out single-use tickets for what cannot send a header: the address of a WebSocket. They live in this process: it
// must be the one that redeems them.
//
// When there are too many, the oldest is forgotten. To refuse a new one instead would let one caller, a few hundred times a
// second, lock everybody out; to push out a ticket before it is redeemed takes many thousand.
type Tickets struct {
	mu    sync.Mutex
	held  map[ticketSum]heldTicket
	order []ticketSum // as issued, so that the first expires first; a redeemed one stays until its turn comes
}

// ticketSum is the hash of a ticket: finding it takes the same time for all guesses.
type ticketSum [sha256.Size]byte

type heldTicket struct {
	principal Principal
	until     time.Time
}

// NewTickets holds no ticket yet.
func NewTickets() *Tickets { return &Tickets{held: map[ticketSum]heldTicket{}} }

// Issue makes a ticket for a principal, and says until when it is good.
func (t *Tickets) Issue(p Principal, now time.Time) (ticket string, until time.Time) {
	b := make([]byte, ticketBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the program first
	ticket, until = base64.RawURLEncoding.EncodeToString(b), now.Add(TicketTTL)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	sum := ticketSum(sha256.Sum256([]byte(ticket)))
	t.held[sum] = heldTicket{p, until}
	t.order = append(t.order, sum)
	return ticket, until
}

// Redeem returns whose ticket it is, once; else ErrNoCredentials or ErrBadCredentials.
func (t *Tickets) Redeem(ticket string, now time.Time) (Principal, error) {
	if ticket == "" {
		return Principal{}, ErrNoCredentials
	}
	if len(ticket) != base64.RawURLEncoding.EncodedLen(ticketBytes) {
		return Principal{}, ErrBadCredentials
	}
	sum := ticketSum(sha256.Sum256([]byte(ticket)))
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.held[sum]
	delete(t.held, sum)
	if !ok || !now.Before(h.until) {
		return Principal{}, ErrBadCredentials
	}
	return h.principal, nil
}

// expire drops what is no longer good, and the oldest if there still is no room for one more.
func (t *Tickets) expire(now time.Time) {
	for len(t.order) > 0 {
		h, ok := t.held[t.order[0]]
		if ok && now.Before(h.until) && len(t.order) < ticketCount {
			return
		}
		delete(t.held, t.order[0])
		t.order = t.order[1:]
	}
}
