package metric

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pulsestream/pulsestream/internal/event"
)

// extraction reads the values of some paths from a JSON text in one pass over it: names are looked up in a tree of the paths, and
// what no path leads into is passed over. It says the same as looking each path up in a tape. It never changes.
type extraction struct {
	paths [][]step // of each slot
	root  branch
}

// branch is a place in the data that paths lead to or through.
type branch struct {
	slot    int32    // of the path that ends here, or -1
	below   []uint32 // the slots of paths that lead on from here
	members []member
	// elements are the branches of an array's, by ascending index.
	elements []element
}

type member struct {
	head uint64 // the first eight bytes of its name, or as many as there are
	name []byte
	*branch
}

type element struct {
	index int64
	*branch
}

// newExtraction numbers the paths of programs; local has the slots of each.
func newExtraction(programs []*Program) (x *extraction, local [][]uint32) {
	x = &extraction{root: branch{slot: -1}}
	for _, p := range programs {
		own := make([]uint32, len(p.paths.list))
		for i, path := range p.paths.list {
			own[i] = x.slot(path.steps)
		}
		local = append(local, own)
	}
	return x, local
}

func (x *extraction) slot(steps []step) uint32 {
	at := slices.IndexFunc(x.paths, func(o []step) bool { return slices.EqualFunc(o, steps, step.equal) })
	if at >= 0 {
		return offset(at)
	}
	n := offset(len(x.paths))
	x.paths = append(x.paths, steps)
	b := &x.root
	for _, s := range steps {
		b.below = append(b.below, n)
		b = b.child(s)
	}
	b.slot = int32(n) //nolint:gosec // few
	return n
}

func (b *branch) child(s step) *branch {
	if s.name == nil {
		i, found := slices.BinarySearchFunc(b.elements, s.index, func(e element, t int64) int { return order(e.index, t) })
		if !found {
			b.elements = slices.Insert(b.elements, i, element{s.index, &branch{slot: -1}})
		}
		return b.elements[i].branch
	}
	for i := range b.members {
		if string(b.members[i].name) == string(s.name) {
			return b.members[i].branch
		}
	}
	b.members = append(b.members, member{headOf(s.name), s.name, &branch{slot: -1}})
	return b.members[len(b.members)-1].branch
}

func headOf(name []byte) uint64 {
	var eight [8]byte
	copy(eight[:], name)
	return binary.LittleEndian.Uint64(eight[:])
}

// pass is one pass over a text.
type pass struct {
	raw     []byte
	slots   []value
	escapes bool // there are some in the text
}

// run reads raw into slots, which has room for all. It is false where the structure is seen to be broken: then slots are void.
func (x *extraction) run(raw []byte, slots []value) bool {
	for i := range slots {
		slots[i].kind = kindError
	}
	p := pass{raw: raw, slots: slots, escapes: bytes.IndexByte(raw, '\\') >= 0}
	i := event.Space(raw, 0)
	if i >= len(raw) {
		return false
	}
	i, ok := p.into(i, &x.root)
	return ok && event.Space(raw, i) == len(raw)
}

// into reads the value at i, which paths lead to or through, and answers where it ends.
func (p *pass) into(i int, b *branch) (int, bool) {
	switch p.raw[i] {
	case '{':
		if len(b.members) > 0 {
			return p.object(i, b)
		}
	case '[':
		if len(b.elements) > 0 {
			return p.array(i, b)
		}
	}
	return p.past(i)
}

// past is where the value at i ends.
func (p *pass) past(i int) (int, bool) {
	switch p.raw[i] {
	case '"':
		end := stringEnd(p.raw, i+1)
		return end + 1, end >= 0
	case '{', '[':
		return p.pastContainer(i)
	}
	end := plainEnd(p.raw, i)
	return end, end > i
}

func (p *pass) pastContainer(i int) (int, bool) {
	for depth := 0; i < len(p.raw); i++ {
		switch p.raw[i] {
		case '"':
			if i = stringEnd(p.raw, i+1); i < 0 {
				return 0, false
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}

// space skips white space; mostly there is none.
func (p *pass) space(i int) int {
	if i < len(p.raw) && p.raw[i] > ' ' {
		return i
	}
	return event.Space(p.raw, i)
}

func (p *pass) object(i int, b *branch) (int, bool) {
	raw := p.raw
	i = p.space(i + 1)
	if i < len(raw) && raw[i] == '}' {
		return i + 1, true
	}
	for {
		if i >= len(raw) || raw[i] != '"' {
			return 0, false
		}
		end := stringEnd(raw, i+1)
		if end < 0 {
			return 0, false
		}
		child := p.member(b, i+1, end)
		if i = p.space(end + 1); i >= len(raw) || raw[i] != ':' {
			return 0, false
		}
		if i = p.space(i + 1); i >= len(raw) {
			return 0, false
		}
		var ok bool
		if child == nil {
			i, ok = p.past(i)
		} else {
			i, ok = p.value(i, child)
		}
		if !ok {
			return 0, false
		}
		if i = p.space(i); i >= len(raw) {
			return 0, false
		}
		switch raw[i] {
		case ',':
			i = p.space(i + 1)
		case '}':
			return i + 1, true
		default:
			return 0, false
		}
	}
}

// member is the branch of the name that stands from i to end.
func (p *pass) member(b *branch, i, end int) *branch {
	name := p.raw[i:end]
	if p.escapes && bytes.IndexByte(name, '\\') >= 0 {
		var stack [64]byte
		name = unescape(stack[:0], name)
		for k := range b.members {
			if string(b.members[k].name) == string(name) {
				return b.members[k].branch
			}
		}
		return nil
	}
	var head uint64
	if i+8 <= len(p.raw) {
		head = binary.LittleEndian.Uint64(p.raw[i:])
		if n := len(name); n < 8 {
			head &= 1<<(8*uint(n)) - 1
		}
	} else {
		head = headOf(name)
	}
	for k := range b.members {
		if m := &b.members[k]; m.head == head && len(m.name) == len(name) && (len(name) <= 8 || string(m.name[8:]) == string(name[8:])) {
			return m.branch
		}
	}
	return nil
}

func (p *pass) array(i int, b *branch) (int, bool) {
	raw := p.raw
	i = p.space(i + 1)
	if i < len(raw) && raw[i] == ']' {
		return i + 1, true
	}
	rest := b.elements
	for len(rest) > 0 && rest[0].index < 0 {
		rest = rest[1:]
	}
	for at := int64(0); ; at++ {
		if i >= len(raw) {
			return 0, false
		}
		var ok bool
		if len(rest) > 0 && rest[0].index == at {
			i, ok = p.value(i, rest[0].branch)
			rest = rest[1:]
		} else {
			i, ok = p.past(i)
		}
		if !ok {
			return 0, false
		}
		if i = p.space(i); i >= len(raw) {
			return 0, false
		}
		switch raw[i] {
		case ',':
			i = p.space(i + 1)
		case ']':
			return i + 1, true
		default:
			return 0, false
		}
	}
}

// value reads the value at i for the path that ends at b, and for those that lead on. Of several members with one name the last
// counts: what was read of one before is forgotten.
func (p *pass) value(i int, b *branch) (int, bool) {
	for _, s := range b.below {
		p.slots[s].kind = kindError
	}
	if b.slot < 0 {
		return p.into(i, b)
	}
	v := &p.slots[b.slot]
	switch c := p.raw[i]; c {
	case '"':
		end := stringEnd(p.raw, i+1)
		if end < 0 {
			return 0, false
		}
		v.text, v.kind = p.raw[i+1:end], kindString
		if p.escapes && bytes.IndexByte(v.text, '\\') >= 0 {
			v.kind = kindUnread
		}
		return end + 1, true
	case '{':
		v.kind = kindUnreadMap
		return p.into(i, b)
	case '[':
		v.kind = kindUnreadList
		return p.into(i, b)
	case 't', 'f':
		*v = boolean(c == 't')
	case 'n':
		*v = value{kind: kindNull}
	default:
		end := plainEnd(p.raw, i)
		*v = double(number(p.raw[i:end]))
		return end, end > i
	}
	return plainEnd(p.raw, i), true
}
