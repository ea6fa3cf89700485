package event

import (
	"fmt"
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
func (s *Scanner) Value(b []byte, i int) (int, error) {
	s.stack, s.Depth = s.stack[:0], 0
	for {
		var err error
		if i, err = s.open(b, i); err != nil {
			return i, err
		}
		if i < 0 { // a container was opened that holds something: its first value comes next
			i = -i
			continue
		}
		var more bool
		if i, more, err = s.close(b, i); err != nil || !more {
			return i, err
		}
	}
}

// open consumes a scalar, an empty container, or the beginning of a container up to its first value. The last
// is told by a negative index.
func (s *Scanner) open(b []byte, i int) (int, error) {
	i = Space(b, i)
	if i >= len(b) {
		return bad(i, "a value is missing")
	}
	switch c := b[i]; c {
	case '{', '[':
		s.stack = append(s.stack, c)
		s.Depth = max(s.Depth, len(s.stack))
		j := Space(b, i+1)
		if j < len(b) && b[j] == c+2 { // '{'+2 == '}', '['+2 == ']'
			s.stack = s.stack[:len(s.stack)-1]
			return j + 1, nil
		}
		if c == '{' {
			k, err := memberName(b, j)
			return -k, err
		}
		return -j, nil
	case '"':
		return String(b, i)
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	default:
		return number(b, i)
	}
}

// close consumes what may follow a value: the ends of containers, and a comma with what leads to the next value.
func (s *Scanner) close(b []byte, i int) (next int, more bool, err error) {
	for len(s.stack) > 0 {
		top := s.stack[len(s.stack)-1]
		i = Space(b, i)
		switch {
		case i >= len(b):
			i, err = bad(i, "the text ends inside an object or array")
			return i, false, err
		case b[i] == top+2:
			s.stack = s.stack[:len(s.stack)-1]
			i++
		case b[i] == ',' && top == '[':
			return i + 1, true, nil
		case b[i] == ',':
			i, err = memberName(b, Space(b, i+1))
			return i, true, err
		default:
			i, err = bad(i, "expected a comma or the end of the object or array")
			return i, false, err
		}
	}
	return i, false, nil
}

// memberName consumes a name and its colon.
func memberName(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return bad(i, "expected a member name in double quotes")
	}
	i, err := String(b, i)
	if err != nil {
		return i, err
	}
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
	start, ascii := i, true
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(b[start+1:i]) {
				return bad(start, "the string is not UTF-8")
			}
			return i + 1, nil
		case c == '\\':
			n, err := escape(b, i)
			if err != nil {
				return n, err
			}
			i = n - 1
		case c < 0x20:
			return bad(i, "a control character in a string must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return bad(i, "the text ends inside a string")
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
