// Package event is the noun everything else is about: one thing that happened, by the CloudEvents model.
//
// Data stays the sender's own JSON text from the first byte to the last, so a number such as 2^53+1 or a
// duplicate key comes back exactly as it was sent.
package event

import (
	"crypto/sha256"
	"time"
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Limits of one event and of one request; see the public contract.
const (
	MaxBytes      = 256 << 10 // one event, as sent
	MaxDepth      = 32        // levels of nesting in an event, the event itself being the first
	MaxBodyBytes  = 16 << 20  // one request, after decompression
	MaxPerRequest = 10_000    // events in one request
	MaxEarly      = 10 * time.Minute
	MaxAttrBytes  = 1024 // id, source, type, subject, and each extension's name
)

// Event is one event of one tenant.
type Event struct {
	ID      string
	Source  string
	Type    string
	Subject string
	// Time is when it happened, as the sender says; UTC, to the nanosecond.
	Time time.Time
	// Received is when the log took it; UTC, to the nanosecond. Every decision that must come out the same in a
	// replay (deduplication, above all) uses this and never the wall clock.
	Received time.Time
	// Data is any JSON value as sent, or nil when the event has none.
	Data []byte
	// Extensions is a JSON object of the extension attributes, or nil when there are none.
	Extensions []byte
	// Identified says that the sender chose the id. Only then is source+id an idempotency key.
	Identified bool
}

// Size is how many bytes the event counts for: its id, source, type, subject, data and extension attributes, as UTF-8, as they were sent. How it was sent (one or
// many, compressed or not) and how it is kept make no difference.
func (e *Event) Size() int64 {
	return int64(len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(e.Data) + len(e.Extensions))
}

// Keep copies what the event refers to behind what is in arena already, and has it refer to that: it was only lent.
func (e *Event) Keep(arena []byte) []byte {
	keep := func(b []byte) []byte {
		at := len(arena)
		arena = append(arena, b...)
		return arena[at:len(arena):len(arena)]
	}
	for _, s := range []*string{&e.ID, &e.Source, &e.Type, &e.Subject} {
		*s = view(keep(unsafe.Slice(unsafe.StringData(*s), len(*s)))) //nolint:gosec // only read
	}
	for _, b := range []*[]byte{&e.Data, &e.Extensions} {
		if *b != nil {
			*b = keep(*b)
		}
	}
	return arena
}

// Position is where an event stands in its partition of the log.
type Position struct {
	Seq   uint64 // of the log message
	Index uint32 // within the message
}

// Before says whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Seq < q.Seq || p.Seq == q.Seq && p.Index < q.Index
}

// Stored is an event with the tenant it belongs to and its place in the log.
type Stored struct {
	Event
	Tenant    tenant.ID
	Partition int
	Position
}

// Key is a fingerprint of tenant, source and id: the identity by which an event is counted once. It is a truncated
// SHA-256, so that no tenant can craft an id that swallows another tenant's event.
type Key [12]byte

// IdentityKey is the fingerprint of source and id within tenant.
func IdentityKey(t tenant.ID, source, id string) Key {
	var stack [192]byte
	b := append(stack[:0], t...)
	b = append(b, 0)
	b = append(b, source...)
	b = append(b, 0)
	b = append(b, id...)
	sum := sha256.Sum256(b)
	return Key(sum[:12])
}
