// Package load makes events as several vendors send them, and sends them at little cost.
//
// The load is deterministic: the same Shape gives the same events in the same order, but for their times, which are those of
// sending. Requests are built once and sent many times; before each sending, what must differ is written into its place: ids,
// times, references and amounts. So a generator that shares a machine with the server it measures takes little of it.
package load

import (
	"math/bits"
	"time"
)

// Shape is what a load consists of.
type Shape struct {
	Tenants int
	// Batch is how many events are in a request; 1 sends single events, more send NDJSON.
	Batch int
	// Connections is how many requests are under way at a time.
	Connections int
	// Pool is how many different events there are before only ids, times and numbers change.
	Pool int
	// Even gives all tenants the same share; else a few have most of it.
	Even bool
	// Seed makes loads differ.
	Seed uint64
	// Type, when it is set, is the type of every event: such a load can be told from others.
	Type string
	// Series, when it is set, is how many values the property "series" of the events' data takes.
	Series int
}

// field is what is written into its place before a request is sent.
type field uint8

const (
	fieldID     field = iota // n characters of base 62 that never come again
	fieldHex                 // n characters of base 16; 32 never come again
	fieldHigh                // 4 characters of base 16 that with fieldLow never come again
	fieldLow                 // 12 characters of base 16
	fieldHash                // n characters of base 16 that have nothing to do with the id
	fieldTime                // RFC 3339 with milliseconds
	fieldSecond              // six characters of base 62 that tell the second, as Stripe's ids do
	fieldRef                 // n characters of base 62
	fieldNumber              // n digits, the first not 0
	fieldSeries              // six digits
)

const (
	timeLayout = "2006-01-02T15:04:05.000Z"
	base62     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base16     = "0123456789abcdef"
)

// hole is a place in a request.
type hole struct {
	at    uint32
	event uint16 // which of the request's events it belongs to
	kind  field
	n     uint8
}

// mix is the finalizer of SplitMix64, one to one: numbers that are counted up look random.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// mix47 maps the numbers below 2^47 one to one onto themselves: they fit into eight characters of base 62.
func mix47(x uint64) uint64 {
	const mask = 1<<47 - 1
	x = x * 0x9e3779b97f4a7c15 & mask
	x ^= x >> 24
	x = x * 0xbf58476d1ce4e5b9 & mask
	return x ^ x>>23
}

func put62(dst []byte, x uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = base62[x%62]
		x /= 62
	}
}

func put16(dst []byte, x uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = base16[x&15]
		x >>= 4
	}
}

// put32 writes up to 32 characters of base 16.
func put32(dst []byte, a, b uint64) {
	put16(dst[:min(16, len(dst))], a)
	if len(dst) > 16 {
		put16(dst[16:], b)
	}
}

// putNumber writes len(dst) digits, small numbers more often than large ones as amounts are.
func putNumber(dst []byte, x uint64) {
	low := uint64(1)
	for range len(dst) - 1 {
		low *= 10
	}
	a, _ := bits.Mul64(x, 9*low)
	b, _ := bits.Mul64(mix(x), a+1)
	v := low + b
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
}

// clock writes times, most of which it has written before.
type clock struct {
	minute int64
	text   [len(timeLayout)]byte
	second [6]byte
	of     int64
}

func (c *clock) put(dst []byte, ms int64) {
	minute := ms / 60_000
	if minute != c.minute || c.text[0] == 0 {
		c.minute = minute
		copy(c.text[:], time.UnixMilli(minute*60_000).UTC().Format(timeLayout))
	}
	copy(dst, c.text[:])
	rest := uint64(ms - minute*60_000) //nolint:gosec // less than a minute
	s, m := rest/1000, rest%1000
	put10(dst[17:19], s)
	put10(dst[20:23], m)
}

func (c *clock) putSecond(dst []byte, ms int64) {
	if s := ms / 1000; s != c.of {
		c.of = s
		put62(c.second[:], uint64(s)) //nolint:gosec // after 1970
	}
	copy(dst, c.second[:])
}

// Request is a request as it goes over the wire, and where it changes.
type Request struct {
	Tenant int
	Events int
	bytes  []byte
	body   int // where the body begins
	holes  []hole
}

// stamp is what is new in a request when it is sent again.
type stamp struct {
	seed, number uint64 // of the load, and of the request in it
	last         time.Time
	span         time.Duration // between the first event and the last
	series       int
}

// write writes what is new into the request and returns its bytes.
func (r *Request) write(c *clock, s *stamp) []byte {
	first := s.seed<<38 + s.number*uint64(r.Events) //nolint:gosec // positive
	ms := s.last.UnixMilli()
	step := float64(s.span.Milliseconds()) / float64(r.Events)
	for _, h := range r.holes {
		dst := r.bytes[h.at : h.at+uint32(h.n)]
		x := first + uint64(h.event)
		switch h.kind {
		case fieldID:
			put62(dst, mix47(x))
		case fieldHex:
			put32(dst, mix(^x), mix(x))
		case fieldHigh:
			put16(dst, mix(x)>>48)
		case fieldLow:
			put16(dst, mix(x))
		case fieldHash:
			put32(dst, mix(x*41), mix(x*43))
		case fieldTime:
			c.put(dst, ms-int64(step*float64(r.Events-1-int(h.event))))
		case fieldSecond:
			c.putSecond(dst, ms)
		case fieldRef:
			put62(dst, mix(x*31+uint64(h.at)))
		case fieldNumber:
			putNumber(dst, mix(x*37+uint64(h.at)))
		case fieldSeries:
			put10(dst, mix(x)%uint64(max(1, s.series)))
		}
	}
	return r.bytes
}

func put10(dst []byte, x uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = '0' + byte(x%10)
		x /= 10
	}
}

// Body is the request's body as it was last stamped.
func (r *Request) Body() []byte { return r.bytes[r.body:] }
