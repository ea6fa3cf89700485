package postgres

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// PostgreSQL's text holds every character but U+0000, and senders' texts may hold that. So a zero byte is written as 01 01, and the byte 01, which hardly
// any text has, as 01 02. Order, equality and prefixes stay what they are, and all other text is stored as it is.

// packed is how a text is stored.
func packed(s string) string {
	if strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, 1) < 0 {
		return s
	}
	return string(appendPacked(nil, s))
}

func appendPacked[T string | []byte](b []byte, s T) []byte {
	for i := range len(s) {
		switch s[i] {
		case 0:
			b = append(b, 1, 1)
		case 1:
			b = append(b, 1, 2)
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// unpacked is the text that packed stored.
func unpacked(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return string(unpackedBytes([]byte(s)))
}

// unpackedBytes changes b.
func unpackedBytes(b []byte) []byte {
	if bytes.IndexByte(b, 1) < 0 {
		return b
	}
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == 1 && i+1 < len(b) {
			i++
			out = append(out, b[i]-1)
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// clean is for what others have written, about something that failed: what is no text is replaced.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

func packedAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = packed(s)
	}
	return out
}
