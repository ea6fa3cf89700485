package event

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// NotText is the first of the events that has something which is not UTF-8; nil when there is none.
func NotText(all []Stored) *Stored {
	before := &Stored{}
	for i := range all {
		e := &all[i]
		good := isText(e.ID) && isText(e.Subject) && isUTF8(e.Data) && isUTF8(e.Extensions) &&
			// These repeat.
			(e.Source == before.Source || isText(e.Source)) && (e.Type == before.Type || isText(e.Type)) && (e.Tenant == before.Tenant || isText(string(e.Tenant)))
		if !good {
			return e
		}
		before = e
	}
	return nil
}

func isText(s string) bool { return isUTF8(unsafe.Slice(unsafe.StringData(s), len(s))) } //nolint:gosec // only read

// isUTF8 is utf8.Valid in a third of the time where all is ASCII.
func isUTF8(b []byte) bool {
	n := len(b)
	if n < 8 {
		return utf8.Valid(b)
	}
	high := binary.LittleEndian.Uint64(b[n-8:])
	i := 0
	for ; i+32 <= n; i += 32 {
		w := b[i : i+32]
		high |= binary.LittleEndian.Uint64(w) | binary.LittleEndian.Uint64(w[8:]) | binary.LittleEndian.Uint64(w[16:]) | binary.LittleEndian.Uint64(w[24:])
		if high&eachHigh != 0 {
			return utf8.Valid(b)
		}
	}
	for ; i+8 <= n; i += 8 {
		high |= binary.LittleEndian.Uint64(b[i:])
	}
	return high&eachHigh == 0 || utf8.Valid(b)
}
