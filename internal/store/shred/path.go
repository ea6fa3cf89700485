package shred

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// locate finds the value at a path of names in a JSON text, or in a shape, where a mark stands for a value. Of several members with
// one name the last counts. What is no JSON gives some answer or none.
func locate(text []byte, path []string) (v span, found bool) {
	at := space(text, 0)
	for _, name := range path {
		if at = member(text, at, name); at < 0 {
			return span{}, false
		}
	}
	end := valueEnd(text, at)
	return span{uint32(at), uint32(max(0, end))}, end > at //nolint:gosec // a text is shorter than that
}

// member is where the value of the object's member begins, or -1.
func member(text []byte, at int, name string) int {
	if at >= len(text) || text[at] != '{' {
		return -1
	}
	last := -1
	for at = space(text, at+1); at < len(text) && text[at] == '"'; at = space(text, at+1) {
		end := stringEnd(text, at+1)
		if end < 0 {
			return last
		}
		inside := text[at+1 : end]
		at = space(text, end+1)
		if at >= len(text) || text[at] != ':' {
			return last
		}
		if at = space(text, at+1); named(inside, name) {
			last = at
		}
		if at = valueEnd(text, at); at < 0 {
			return last
		}
		if at = space(text, at); at >= len(text) || text[at] != ',' {
			break
		}
	}
	return last
}

// valueEnd is where the value ends that begins at i, or -1.
func valueEnd(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; c {
		case '"':
			end := stringEnd(text, i+1)
			if end < 0 {
				return -1
			}
			i = end + 1
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case mark:
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return -1
			}
			i++
			continue
		default:
			end := plainEnd(text, i)
			if end == i {
				return -1
			}
			i = end
		}
		if depth <= 0 {
			return i
		}
	}
	return -1
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

func named(inside []byte, name string) bool {
	if string(inside) == name {
		return bytes.IndexByte(inside, '\\') < 0
	}
	if bytes.IndexByte(inside, '\\') < 0 {
		return false
	}
	var room [64]byte
	return string(unescape(room[:0], inside)) == name
}

// unescape appends what the inside of a JSON string means. Half of a surrogate pair, which no UTF-8 text can hold, becomes U+FFFD.
func unescape(dst, inside []byte) []byte {
	for len(inside) > 0 {
		c := inside[0]
		inside = inside[1:]
		if c != '\\' || len(inside) == 0 {
			dst = append(dst, c)
			continue
		}
		c = inside[0]
		inside = inside[1:]
		if c != 'u' {
			if i := bytes.IndexByte([]byte("bfnrt"), c); i >= 0 {
				c = "\b\f\n\r\t"[i]
			}
			dst = append(dst, c)
			continue
		}
		r := hex4(inside)
		inside = inside[min(4, len(inside)):]
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if len(inside) > 1 && inside[0] == '\\' && inside[1] == 'u' {
				pair = utf16.DecodeRune(r, hex4(inside[2:]))
			}
			if r = pair; r != utf8.RuneError {
				inside = inside[min(6, len(inside)):]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// hex4 reads four hexadecimal digits, and U+FFFD where there are none.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return utf8.RuneError
	}
	v := rune(0)
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return utf8.RuneError
		}
		v = v<<4 | rune(c)
	}
	return v
}
