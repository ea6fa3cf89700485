package event

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote gives the text of a JSON string, quotes included, that Scanner has accepted. It reports false for a lone
// surrogate, which no UTF-8 text can hold.
func Unquote(raw []byte) (string, bool) {
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain), true
	}
	out, ok := appendUnquoted(make([]byte, 0, len(raw)), raw)
	if !ok {
		return "", false
	}
	return string(out), true
}

// appendUnquoted appends it; when it reports false, what it has appended means nothing.
func appendUnquoted(out, raw []byte) ([]byte, bool) {
	raw = raw[1 : len(raw)-1]
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		if raw[i+1] != 'u' {
			out = append(out, unescaped(raw[i+1]))
			i += 2
			continue
		}
		r := hex4(raw[i+2:])
		i += 6
		if utf16.IsSurrogate(r) {
			if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
				return out, false
			}
			if r = utf16.DecodeRune(r, hex4(raw[i+2:])); r == utf8.RuneError {
				return out, false
			}
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func hex4(b []byte) rune { return hex(b[0])<<12 | hex(b[1])<<8 | hex(b[2])<<4 | hex(b[3]) }

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

// AppendQuoted appends s as a JSON string, escaping only what RFC 8259 demands.
func AppendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
