package metric

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
)

// node is one JSON value of a tape.
type node struct {
	start uint32 // of the value in the text
	name  uint32 // of the member's name, behind its quote; inside an object
	next  uint32 // the first node behind this one and all inside it; the node around it while it is open
	meta  uint32 // of the name: whether it has escape sequences, its length, its last byte
}

const (
	nameEscaped = 1
	nameLength  = 1  // bits to shift
	nameLast    = 24 // bits to shift
	maxTape     = 1 << (nameLast - nameLength)
)

// offset is a place in a text or tape, both of which maxTape bounds.
func offset(i int) uint32 {
	return uint32(i) //nolint:gosec // see above
}

func metaOf(name []byte) uint32 {
	if len(name) == 0 {
		return 0
	}
	return offset(len(name))<<nameLength | uint32(name[len(name)-1])<<nameLast
}

// tape is an index of a JSON text, made in one pass: its values in the order of the text, each with the way past it. All
// programs that look at an event share it. The text has been validated when the event was taken; from a text that is not
// JSON some tape or none comes out, but never a panic. The zero value is ready; reuse it for its memory.
type tape struct {
	raw   []byte
	nodes []node
	// memo remembers members that were looked up. The programs of an event ask for much the same paths.
	memo  [64]looked
	round uint32 // of what memo holds for the present text
}

// looked is the answer of a look-up in a text.
type looked struct {
	round, object, found uint32
	name                 []byte
}

// build indexes raw. It reports false, and leaves no nodes, where the structure is broken or there is no value.
func (t *tape) build(raw []byte) bool {
	t.raw, t.nodes = raw, t.nodes[:0]
	if t.round++; t.round == 0 { // after four thousand million events
		t.memo, t.round = [64]looked{}, 1
	}
	if len(raw) >= maxTape || !t.scan() {
		t.nodes = t.nodes[:0]
		return false
	}
	return true
}

// none is the node around the outermost value.
const none = math.MaxUint32

// scan is one loop over the values, which is long but is where the time goes.
func (t *tape) scan() bool {
	raw, nodes, around, inObject := t.raw, t.nodes, uint32(none), false
	escapes := bytes.IndexByte(raw, '\\') >= 0
	i := event.Space(raw, 0)
	for {
		var name, meta uint32
		if inObject {
			if i >= len(raw) || raw[i] != '"' {
				return false
			}
			end := stringEnd(raw, i+1)
			if end < 0 {
				return false
			}
			name, meta = offset(i+1), metaOf(raw[i+1:end])
			if escapes && bytes.IndexByte(raw[i+1:end], '\\') >= 0 {
				meta |= nameEscaped
			}
			if i = end + 1; i < len(raw) && raw[i] != ':' {
				i = event.Space(raw, i)
			}
			if i >= len(raw) || raw[i] != ':' {
				return false
			}
			if i++; i < len(raw) && raw[i] <= ' ' {
				i = event.Space(raw, i)
			}
		}
		if i >= len(raw) {
			return false
		}
		start := offset(i)
		switch c := raw[i]; c {
		case '"':
			end := stringEnd(raw, i+1)
			if end < 0 {
				return false
			}
			i = end + 1
		case '{', '[':
			if i++; i < len(raw) && raw[i] <= ' ' {
				i = event.Space(raw, i)
			}
			if i >= len(raw) || raw[i] != c+2 { // '{'+2 == '}', '['+2 == ']'
				nodes = append(nodes, node{start, name, around, meta})
				around, inObject = offset(len(nodes)-1), c == '{'
				continue
			}
			i++
		default:
			end := plainEnd(raw, i)
			if end == i {
				return false
			}
			i = end
		}
		nodes = append(nodes, node{start, name, offset(len(nodes) + 1), meta})
		for { // the containers that end here
			if i < len(raw) && raw[i] <= ' ' {
				i = event.Space(raw, i)
			}
			if around == none {
				t.nodes = nodes
				return i == len(raw)
			}
			if i >= len(raw) {
				return false
			}
			if raw[i] == ',' {
				if i++; i < len(raw) && raw[i] <= ' ' {
					i = event.Space(raw, i)
				}
				break
			}
			o := &nodes[around]
			if raw[i] != raw[o.start]+2 {
				return false
			}
			i++
			around, o.next = o.next, offset(len(nodes))
			inObject = around != none && raw[nodes[around].start] == '{'
		}
	}
}

// stringEnd is where the quote is that ends the string whose inside begins at i, or -1. It looks at eight bytes at a time:
// where one is a quote, and so zero in q, taking one from it borrows from its top bit. The lowest such bit is always right.
func stringEnd(raw []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for at := i; at+8 <= len(raw); at += 8 {
		q := binary.LittleEndian.Uint64(raw[at:]) ^ ones*'"'
		if marks := (q - ones) &^ q & tops; marks != 0 {
			if at += bits.TrailingZeros64(marks) >> 3; raw[at-1] != '\\' {
				return at
			}
			return escapedEnd(raw, i)
		}
	}
	return escapedEnd(raw, i)
}

// escapedEnd is stringEnd, byte by byte.
func escapedEnd(raw []byte, i int) int {
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// plainEnd is where the number, true, false or null ends that begins at raw[i].
func plainEnd(raw []byte, i int) int {
	switch raw[i] {
	case 'n', 't':
		return min(i+len("null"), len(raw))
	case 'f':
		return min(i+len("false"), len(raw))
	}
	for i < len(raw) && raw[i] > ' ' && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' {
		i++
	}
	return i
}

// inside is the text of the string at n between its quotes.
func (t *tape) inside(n *node) []byte {
	i := int(n.start) + 1
	return t.raw[i:stringEnd(t.raw, i)]
}

func (t *tape) number(n *node) float64 {
	return number(t.raw[n.start:plainEnd(t.raw, int(n.start))])
}

// name is the name of a member between its quotes.
func (t *tape) name(n *node) []byte { return t.raw[n.name : n.name+n.meta%(1<<nameLast)>>nameLength] }

// known is member for the names of paths, which do not change as long as there are programs.
func (t *tape) known(o uint32, name []byte) (uint32, bool) {
	n := len(name)
	if n == 0 || t.nodes[o].next-o < 8 { // looking is as quick as remembering
		return t.member(o, name)
	}
	m := &t.memo[(o*31+offset(n)*7+uint32(name[0])+uint32(name[n-1])*3)%64]
	if m.round != t.round || m.object != o || string(m.name) != string(name) {
		found, _ := t.member(o, name)
		*m = looked{round: t.round, object: o, found: found, name: name}
	}
	return m.found, m.found != none
}

// member finds the member of the object at o. Of several with one name the last counts.
func (t *tape) member(o uint32, name []byte) (uint32, bool) {
	found := uint32(none)
	nodes, plain := t.nodes, metaOf(name)
	for i, end := o+1, nodes[o].next; i < end; {
		n := &nodes[i]
		if (n.meta == plain || n.meta&nameEscaped != 0) && t.named(i, name) {
			found = i
		}
		if i++; n.next != i { // most values hold no others; to guess so is faster than to wait for next
			i = n.next
		}
	}
	return found, found != none
}

func (t *tape) named(i uint32, name []byte) bool {
	n := &t.nodes[i]
	if n.meta&nameEscaped == 0 {
		return string(t.name(n)) == string(name)
	}
	var stack [64]byte
	return string(unescape(stack[:0], t.name(n))) == string(name)
}

// element finds the element of the array at a.
func (t *tape) element(a uint32, index int64) (uint32, bool) {
	i, end := a+1, t.nodes[a].next
	for ; i < end && index > 0; index-- {
		i = t.nodes[i].next
	}
	return i, i < end && index == 0
}

// decode builds what CEL works on: map[string]any, []any, string, float64, bool or nil.
func (t *tape) decode(i uint32) any {
	n := &t.nodes[i]
	switch t.raw[n.start] {
	case '{':
		m := make(map[string]any, t.count(i))
		for c := i + 1; c < n.next; c = t.nodes[c].next {
			m[t.nameOf(&t.nodes[c])] = t.decode(c)
		}
		return m
	case '[':
		l := make([]any, 0, t.count(i))
		for c := i + 1; c < n.next; c = t.nodes[c].next {
			l = append(l, t.decode(c))
		}
		return l
	case '"':
		return string(t.text(n, nil))
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	return t.number(n)
}

// count is the number of members or elements of the value at i.
func (t *tape) count(i uint32) int {
	n := 0
	for c := i + 1; c < t.nodes[i].next; c = t.nodes[c].next {
		n++
	}
	return n
}

func (t *tape) nameOf(n *node) string {
	if n.meta&nameEscaped == 0 {
		return string(t.name(n))
	}
	return string(unescape(nil, t.name(n)))
}

// text is the string at n: a view of the raw text, or unescaped at the end of scratch.
func (t *tape) text(n *node, scratch *[]byte) []byte {
	inside := t.inside(n)
	if bytes.IndexByte(inside, '\\') < 0 {
		return inside
	}
	if scratch == nil {
		return unescape(nil, inside)
	}
	at := len(*scratch)
	*scratch = unescape(*scratch, inside)
	return (*scratch)[at:]
}

// number reads a JSON number. One beyond the range of a float64 is infinite, as in CEL.
func number(raw []byte) float64 {
	if len(raw) <= 16 {
		v := int64(0)
		for i, c := range raw {
			if c < '0' || c > '9' {
				if c == '.' {
					return decimal(raw, i, v)
				}
				return parseNumber(raw)
			}
			v = v*10 + int64(c-'0')
		}
		if len(raw) <= 15 { // up to 15 digits are exact, and by far the most frequent
			return float64(v)
		}
	}
	return parseNumber(raw)
}

// decimal is number for up to 15 digits with a point at raw[at:], in front of which stands v. Both the digits and the power of ten
// are exact then, so their quotient is the nearest number there is.
func decimal(raw []byte, at int, v int64) float64 {
	for _, c := range raw[at+1:] {
		if c < '0' || c > '9' {
			return parseNumber(raw)
		}
		v = v*10 + int64(c-'0')
	}
	return float64(v) / [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}[len(raw)-at-1]
}

func parseNumber(raw []byte) float64 {
	v, _ := strconv.ParseFloat(string(raw), 64)
	return v
}

// unescape appends the text of a JSON string's inside. Half of a surrogate pair, which no UTF-8 text can hold, becomes U+FFFD.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		j := bytes.IndexByte(raw[i:], '\\')
		if j < 0 {
			return append(dst, raw[i:]...)
		}
		dst = append(dst, raw[i:i+j]...)
		i += j + 1
		if i >= len(raw) {
			return dst
		}
		c := raw[i]
		i++
		if c != 'u' {
			dst = append(dst, unescaped(c))
			continue
		}
		r := hex4(raw, i)
		i = min(i+4, len(raw))
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
				pair = utf16.DecodeRune(r, hex4(raw, i+2))
			}
			if r = pair; pair != utf8.RuneError {
				i += 6
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // '"', '\\', '/'
}

// hex4 reads four hexadecimal digits at raw[i:], and U+FFFD where there are none.
func hex4(raw []byte, i int) rune {
	if i+4 > len(raw) {
		return utf8.RuneError
	}
	v, err := strconv.ParseUint(string(raw[i:i+4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(v)
}
