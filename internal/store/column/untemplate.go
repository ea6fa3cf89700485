package column

import (
	"encoding/binary"
	"math/bits"
)

// templates reads what appendTemplates wrote.
func (d *Decoder) templates(dst *Texts, r *reader, n int) error {
	groups := r.count(maxLengths)
	if groups == 0 {
		return corrupt("no templates")
	}
	var numbers []byte
	if groups > 1 {
		numbers = r.part()
	} else {
		numbers = []byte{intsConstant, 0}
	}
	var err error
	if d.rows, err = decodeInts(d.rows, numbers, n); err != nil {
		return err
	}
	texts, err := d.layOut(dst, *r, groups)
	if err != nil {
		return err
	}
	for i := range groups {
		if err := d.group(dst, r, i, texts[i]); err != nil {
			return err
		}
	}
	if r.failed || len(r.src) != 0 {
		return corrupt("templates")
	}
	return nil
}

// layOut fills each row with the template of its group. It reads r, a copy, once to its end for the templates.
func (d *Decoder) layOut(dst *Texts, r reader, groups int) (counts [maxLengths]int, err error) {
	var texts [maxLengths][]byte
	for i := range groups {
		texts[i] = r.take(r.count(maxLength))
		for range r.count(maxFields) {
			r.field(&unspread{})
			r.part()
		}
	}
	if r.failed {
		return counts, corrupt("templates")
	}
	total := 0
	for _, g := range d.rows {
		if int(g) >= groups {
			return counts, corrupt("row without a template")
		}
		total += len(texts[g])
	}
	if total > MaxBytes {
		return counts, corrupt("texts are too long")
	}
	dst.data, dst.ends = grown(dst.data, total)[:0], grown(dst.ends, len(d.rows)+1)
	dst.ends[0] = 0
	for i, g := range d.rows {
		counts[g]++
		dst.data = append(dst.data, texts[g]...)
		dst.ends[i+1] = uint32(len(dst.data)) //nolint:gosec // at most MaxBytes
	}
	return counts, nil
}

// group writes the fields of a group's rows over the template.
func (d *Decoder) group(dst *Texts, r *reader, number, rows int) error {
	length := r.count(maxLength)
	r.take(length)
	for range r.count(maxFields) {
		var u unspread
		f := r.field(&u)
		column := r.part()
		if r.failed || f.at+f.length > length {
			return corrupt("field of a template")
		}
		var err error
		if d.ints, err = DecodeInts(d.ints, column, rows); err != nil {
			return err
		}
		next := 0
		for i, g := range d.rows {
			if int(g) != number {
				continue
			}
			at := int(dst.ends[i]) + f.at
			u.write(dst.data[at:at+f.length], f.kind, uint64(d.ints[next])) //nolint:gosec // the bits are meant
			next++
		}
	}
	return nil
}

// unspread turns numbers back into characters.
type unspread struct {
	widths [64]uint8
	listed [64][]byte
}

// field reads the description of a field.
func (r *reader) field(u *unspread) field {
	f := field{kind: r.byte(), at: int(r.byte()), length: int(r.byte())}
	if f.kind >= fieldKinds || f.length == 0 || f.length > fieldLimit(f.kind) {
		r.failed, r.src = true, nil
		return field{}
	}
	if f.kind == fieldLetters {
		for j := range f.length {
			n := int(r.byte())
			if n == 0 {
				u.listed[j] = lettersInOrder
			} else {
				u.listed[j] = r.take(n + 1)
			}
			u.widths[j] = uint8(bits.Len(uint(max(0, len(u.listed[j])-1)))) //nolint:gosec // at most eight
		}
	}
	return f
}

var lettersInOrder = []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

func (u *unspread) write(dst []byte, kind byte, v uint64) {
	switch kind {
	case fieldHex:
		writeHex(dst, v)
	case fieldDigits:
		for i := len(dst) - 1; i >= 0; i-- {
			dst[i] = '0' + byte(v%10)
			v /= 10
		}
	default:
		for j := range dst {
			w := u.widths[j]
			if i := int(v & (1<<w - 1)); i < len(u.listed[j]) { //nolint:gosec // at most eight bits
				dst[j] = u.listed[j][i]
			}
			v >>= w
		}
	}
}

const (
	nibbles = 0x0f0f0f0f0f0f0f0f
	ones    = 0x0101010101010101
)

// readHex reads up to 16 hexadecimal digits, eight at a time.
func readHex(text []byte) uint64 {
	v := uint64(0)
	for ; len(text) >= 8; text = text[8:] {
		x := binary.BigEndian.Uint64(text)
		x = x&nibbles + x>>6&ones*9
		x = (x | x>>4) & 0x00ff00ff00ff00ff
		x = (x | x>>8) & 0x0000ffff0000ffff
		v = v<<32 | (x|x>>16)&0xffffffff
	}
	for _, c := range text {
		v = v<<4 | uint64(c&15+c>>6*9)
	}
	return v
}

// writeHex fills dst with the last digits of v.
func writeHex(dst []byte, v uint64) {
	for ; len(dst) >= 8; dst = dst[:len(dst)-8] {
		x := v & 0xffffffff
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		x = (x | x<<4) & nibbles
		x += ones*'0' + (x+ones*6)>>4&ones*('a'-'0'-10)
		binary.BigEndian.PutUint64(dst[len(dst)-8:], x)
		v >>= 32
	}
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}
