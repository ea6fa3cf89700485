package column

import (
	"encoding/binary"
	"math/bits"
)

// Ids, times and the like are of one length, or of a few, and at each place stand one certain character or those of a small
// alphabet. Such texts are written as a template for each length, and fields: stretches of characters that vary, read as one
// number for each row. The fields are columns of numbers, so what counts up costs next to nothing.
const (
	maxLengths = 8
	maxLength  = 128
	maxFields  = 32
)

// The kinds of fields.
const (
	fieldHex     = iota // lower-case hexadecimal digits
	fieldDigits         // decimal digits
	fieldLetters        // characters of alphabets
	fieldKinds
)

// fieldLimit is how many characters of a kind fit into 64 bits.
func fieldLimit(kind byte) int {
	switch kind {
	case fieldHex:
		return 16
	case fieldDigits:
		return maxDigits
	}
	return 64
}

// alphabet is the set of the bytes at a place.
type alphabet [4]uint64

func (a *alphabet) add(c byte) { a[c>>6] |= 1 << (c & 63) }

func (a *alphabet) has(c byte) bool { return a[c>>6]>>(c&63)&1 != 0 }

func (a *alphabet) count() int {
	return bits.OnesCount64(a[0]) + bits.OnesCount64(a[1]) + bits.OnesCount64(a[2]) + bits.OnesCount64(a[3])
}

// within says whether a has no bytes but those of other.
func (a alphabet) within(other alphabet) bool {
	return a[0]&^other[0]|a[1]&^other[1]|a[2]&^other[2]|a[3]&^other[3] == 0
}

func decimalDigits() alphabet { return alphabet{0x3ff << '0'} }

func hexDigits() alphabet { return alphabet{0x3ff << '0', 0x3f << ('a' - 64)} }

func letters() alphabet { return alphabet{0x3ff << '0', 0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64)} }

// field is a stretch of characters that vary.
type field struct {
	kind       byte
	at, length int
}

// group is the rows of one length.
type group struct {
	length, rows int
	sets         [maxLength]alphabet
	fields       []field
}

// templates is an Encoder's scratch space.
type templates struct {
	groups   []group
	ofLength [maxLength + 1]uint8 // group + 1
	indexes  [64][256]uint8       // of the characters of a field in their alphabets
}

// appendTemplates writes texts as templates and fields, where that is likely to be smaller than anything else.
func (e *Encoder) appendTemplates(dst []byte, values *Texts, prefix, suffix int) ([]byte, bool) {
	t := &e.template
	if !t.collect(values, prefix, suffix) {
		return dst, false
	}
	size := 0
	for i := range t.groups {
		g := &t.groups[i]
		bytes, ok := g.plan()
		if !ok {
			return dst, false
		}
		size += bytes
	}
	if size > len(values.data)-len(values.data)/4 {
		return dst, false
	}
	dst = binary.AppendUvarint(append(dst, textsTemplate), uint64(len(t.groups)))
	if len(t.groups) > 1 {
		e.ints = grown(e.ints, values.entries())
		for i := range e.ints {
			e.ints[i] = int64(t.ofLength[values.ends[i+1]-values.ends[i]]) - 1
		}
		var at int
		dst, at = begin(dst)
		dst = end(AppendInts(dst, e.ints), at)
	}
	for i := range t.groups {
		dst = e.appendGroup(dst, values, i)
	}
	return dst, true
}

// collect sorts the rows by length, and finds the alphabet of each place.
func (t *templates) collect(values *Texts, prefix, suffix int) bool {
	t.groups = t.groups[:0]
	clear(t.ofLength[:])
	for i := range values.entries() {
		text := values.entry(i)
		if len(text) > maxLength {
			return false
		}
		at := t.ofLength[len(text)]
		if at == 0 {
			if len(t.groups) == maxLengths {
				return false
			}
			at = t.add(text)
		}
		g := &t.groups[at-1]
		g.rows++
		sets := g.sets[prefix:]
		for j, c := range text[prefix : len(text)-suffix] {
			sets[j].add(c)
		}
	}
	return true
}

func (t *templates) add(first []byte) uint8 {
	n := len(t.groups)
	if n < cap(t.groups) {
		t.groups = t.groups[:n+1]
	} else {
		t.groups = append(t.groups, group{})
	}
	g := &t.groups[n]
	g.length, g.rows, g.fields = len(first), 0, g.fields[:0]
	for j, c := range first {
		g.sets[j] = alphabet{}
		g.sets[j].add(c)
	}
	t.ofLength[len(first)] = uint8(n + 1) //nolint:gosec // at most maxLengths
	return uint8(n + 1)                   //nolint:gosec // as above
}

// plan divides what varies into fields, and says about how many bytes the group will take.
func (g *group) plan() (size int, ok bool) {
	size = g.length + 8
	bit := 0
	for at := 0; at < g.length; {
		if g.sets[at].count() == 1 {
			at++
			continue
		}
		if len(g.fields) == maxFields {
			return 0, false
		}
		f := field{at: at}
		numbers, hexes := g.run(at, decimalDigits(), maxDigits-1), g.run(at, hexDigits(), 16)
		switch {
		case numbers > 0 && numbers >= hexes:
			f.kind, f.length = fieldDigits, numbers
			bit += numbers*10/3 + 1
		case hexes > 0:
			if hexes == 15 { // 60 bits would take 64
				hexes = 14
			}
			f.kind, f.length = fieldHex, hexes
			bit += 4 * hexes
		default:
			f.kind = fieldLetters
			var width int
			f.length, width = g.letters(at)
			bit += width
			for j := range f.length {
				size += g.sets[at+j].described()
			}
		}
		g.fields = append(g.fields, f)
		at += f.length
		size += 8
	}
	return size + bit*g.rows/8, true
}

// run is how many places from at on vary within an alphabet.
func (g *group) run(at int, within alphabet, limit int) int {
	n := 0
	for n < limit && at+n < g.length && g.sets[at+n].within(within) && g.sets[at+n].count() > 1 {
		n++
	}
	return n
}

// letters is how many places from at on go into one number, and how many bits that has. A long run of hexadecimal digits is
// left to a field of its own.
func (g *group) letters(at int) (length, width int) {
	for at+length < g.length && g.sets[at+length].count() > 1 {
		w := g.sets[at+length].width()
		if width+w > wide || length > 0 && g.run(at+length, hexDigits(), 4) == 4 {
			break
		}
		width += w
		length++
	}
	return length, width
}

// class is the alphabet that a place is written in: letters and digits need no list, others are listed.
func (a *alphabet) class() (class alphabet, listed bool) {
	if a.count() > 10 && a.within(letters()) {
		return letters(), false
	}
	return *a, true
}

// width is the number of bits of a character's number in the alphabet.
func (a *alphabet) width() int {
	class, _ := a.class()
	return bits.Len(uint(class.count() - 1))
}

// describe appends the alphabet: 0 for letters, else the number of characters less one and they.
func (a *alphabet) describe(dst []byte) []byte {
	class, listed := a.class()
	if !listed {
		return append(dst, 0)
	}
	dst = append(dst, byte(class.count()-1)) //nolint:gosec // at most 256 of them
	for i := range 256 {
		if class.has(byte(i)) {
			dst = append(dst, byte(i))
		}
	}
	return dst
}

// described is how many bytes describe appends.
func (a *alphabet) described() int {
	if class, listed := a.class(); listed {
		return 1 + class.count()
	}
	return 1
}

func (e *Encoder) appendGroup(dst []byte, values *Texts, number int) []byte {
	t := &e.template
	g := &t.groups[number]
	dst = binary.AppendUvarint(dst, uint64(g.length)) //nolint:gosec // a length
	for i := range values.entries() {                 // the first row of the group is as good a template as any
		if text := values.entry(i); len(text) == g.length {
			dst = append(dst, text...)
			break
		}
	}
	dst = append(dst, byte(len(g.fields))) //nolint:gosec // at most maxFields
	for _, f := range g.fields {
		dst = append(dst, f.kind, byte(f.at), byte(f.length)) //nolint:gosec // at most maxLength
		if f.kind == fieldLetters {
			for j := range f.length {
				dst = g.sets[f.at+j].describe(dst)
			}
		}
		e.ints = e.ints[:0]
		t.read(&e.ints, values, g, f)
		var at int
		dst, at = begin(dst)
		dst = end(AppendInts(dst, e.ints), at)
	}
	return dst
}

// read appends the number that a field is in each row of the group.
func (t *templates) read(to *[]int64, values *Texts, g *group, f field) {
	out := *to
	shifts := t.index(g, f)
	for i := range values.entries() {
		from, to := values.ends[i], values.ends[i+1]
		if int(to-from) != g.length {
			continue
		}
		text := values.data[from:to][f.at : f.at+f.length]
		v := uint64(0)
		switch f.kind {
		case fieldHex:
			v = readHex(text)
		case fieldDigits:
			for _, c := range text {
				v = v*10 + uint64(c-'0')
			}
		default:
			for j, c := range text {
				v |= uint64(t.indexes[j][c]) << shifts[j]
			}
		}
		out = append(out, int64(v))
	}
	*to = out
}

// index prepares the alphabets of a field, and gives the place of each one's number in the whole.
func (t *templates) index(g *group, f field) (shifts [64]uint8) {
	if f.kind != fieldLetters {
		return shifts
	}
	shift := 0
	for j := range f.length {
		set := &g.sets[f.at+j]
		class, _ := set.class()
		n := uint8(0)
		for c := range 256 {
			if class.has(byte(c)) {
				t.indexes[j][c] = n
				n++
			}
		}
		shifts[j] = uint8(shift)
		shift += set.width()
	}
	return shifts
}
