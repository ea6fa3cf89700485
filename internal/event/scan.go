package event

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// SyntaxError says where a text stops being JSON (RFC 8259).
type SyntaxError struct {
	Offset int // bytes before the error
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not JSON at byte %d: %s", e.Offset, e.Reason)
}

// Scanner walks JSON without building anything: it checks the whole of RFC 8259's grammar and UTF-8, needs no
// recursion however deep the nesting, and remembers how deep it was. The zero value is ready; it may be reused.
type Scanner struct {
	stack []byte
	// Depth is the deepest nesting of the last value: 0 for a scalar, 1 for {} or [].
	Depth int
}

func bad(i int, reason string) (int, error) { return i, &SyntaxError{Offset: i, Reason: reason} }

// Space skips white space at b[i:].
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// Value checks the one value that begins at b[i:] (white space before it is skipped) and returns the index just
// behind it.
func (s *Scanner) Value(b []byte, i int) (end int, err error) {
	stack := s.stack[:0]
	s.Depth = 0
	for more := true; more; {
		if i = Space(b, i); i >= len(b) {
			return bad(i, "a value is missing")
		}
		switch c := b[i]; c {
		case '"':
			i, _, err = text(b, i)
		case '{', '[':
			stack = append(stack, c)
			s.stack, s.Depth = stack, max(s.Depth, len(stack))
			if i = Space(b, i+1); i < len(b) && b[i] == c+2 { // '{'+2 == '}', '['+2 == ']'
				stack = stack[:len(stack)-1]
				i++
				break
			}
			if c == '{' {
				i, err = memberName(b, i)
			}
			if err != nil {
				return i, err
			}
			continue // with its first value
		case 't':
			i, err = literal(b, i, "true")
		case 'f':
			i, err = literal(b, i, "false")
		case 'n':
			i, err = literal(b, i, "null")
		default:
			i, err = number(b, i)
		}
		if err != nil {
			return i, err
		}
		if i, stack, more, err = behind(b, i, stack); err != nil {
			return i, err
		}
	}
	return i, nil
}

// behind consumes what may follow a value: the ends of containers, and a comma with what leads to the next value.
func behind(b []byte, i int, stack []byte) (next int, rest []byte, more bool, err error) {
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		i = Space(b, i)
		switch {
		case i >= len(b):
			i, err = bad(i, "the text ends inside an object or array")
			return i, stack, false, err
		case b[i] == ',' && top == '{':
			i, err = memberName(b, Space(b, i+1))
			return i, stack, true, err
		case b[i] == ',':
			return i + 1, stack, true, nil
		case b[i] == top+2:
			stack = stack[:len(stack)-1]
			i++
		default:
			i, err = bad(i, "expected a comma or the end of the object or array")
			return i, stack, false, err
		}
	}
	return i, stack, false, nil
}

// memberName consumes a name and its colon.
func memberName(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return bad(i, "expected a member name in double quotes")
	}
	i, _, err := text(b, i)
	if err != nil {
		return i, err
	}
	return colon(b, i)
}

// colon consumes the colon behind a name.
func colon(b []byte, i int) (int, error) {
	if i = Space(b, i); i >= len(b) || b[i] != ':' {
		return bad(i, "expected a colon behind the member name")
	}
	return i + 1, nil
}

func literal(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return bad(i, "expected a value")
	}
	return i + len(word), nil
}

// String consumes the string that begins with the quote at b[i].
func String(b []byte, i int) (int, error) {
	i, _, err := text(b, i)
	return i, err
}

// Eight bytes at a time: each constant is one byte, eight times.
const (
	eachOne   = 0x0101010101010101
	eachHigh  = 0x80 * eachOne
	eachSpace = 0x20 * eachOne
	eachQuote = '"' * eachOne
	eachSlash = '\\' * eachOne
)

// text consumes the string that begins with the quote at b[i]. Plain says that it has no escapes: then what is between its quotes is its text.
func text(b []byte, i int) (end int, plain bool, err error) {
	start, notASCII := i, uint64(eachHigh) // notASCII is the bits that stop the run: none any more once there was such a byte
	plain = true
	for i++; ; {
		for i+8 <= len(b) {
			// The high bit of a byte is set where the run ends: in control characters, quotes, backslashes and what is not ASCII. A subtraction
			// borrows from the next byte only where it sets the bit, so the lowest bit is right whatever those above it are.
			x := binary.LittleEndian.Uint64(b[i:])
			stops := ((x-eachSpace)|((x^eachQuote)-eachOne)|((x^eachSlash)-eachOne))&^x&eachHigh | x&notASCII
			if stops != 0 {
				i += bits.TrailingZeros64(stops) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			i, err = bad(i, "the text ends inside a string")
			return i, plain, err
		}
		switch c := b[i]; {
		case c == '"':
			if notASCII == 0 && !utf8.Valid(b[start+1:i]) {
				i, err = bad(start, "the string is not UTF-8")
				return i, plain, err
			}
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			if i, err = escape(b, i); err != nil {
				return i, plain, err
			}
		case c < 0x20:
			i, err = bad(i, "a control character in a string must be escaped")
			return i, plain, err
		case c >= utf8.RuneSelf:
			notASCII = 0
			i++
		default: // near the end of b
			i++
		}
	}
}

// escape consumes the escape sequence whose backslash is b[i].
func escape(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return bad(i, "the text ends inside a string")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		if i+6 > len(b) {
			return bad(i, "the text ends inside a string")
		}
		for _, c := range b[i+2 : i+6] {
			if hex(c) < 0 {
				return bad(i, `\u needs four hexadecimal digits`)
			}
		}
		return i + 6, nil
	}
	return bad(i, "no such escape sequence")
}

func hex(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func number(b []byte, i int) (int, error) {
	start := i
	if i < len(b) && b[i] == '-' {
		i++
	}
	intStart := i
	if i = digits(b, i); i == intStart {
		return bad(start, "expected a value")
	}
	if b[intStart] == '0' && i > intStart+1 {
		return bad(intStart, "a number has no leading zeros")
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return bad(i, "digits are missing behind the point")
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		j := i + 1
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		k := digits(b, j)
		if k == j {
			return bad(i, "digits are missing in the exponent")
		}
		i = k
	}
	return i, nil
}
