package api

import (
	"encoding/base64"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/store"
)

// Cursors are opaque to clients: the place of a page's last entry, in base64. There is one text for each place, and any other text is
// refused.

func encodeEventCursor(c store.Cursor) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Time.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = binary.BigEndian.AppendUint32(b, c.Index)
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeEventCursor(s string) (c store.Cursor, ok bool) {
	b, ok := cursorBytes(s)
	if !ok || len(b) != 20 {
		return c, false
	}
	c.Time = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC() //nolint:gosec // a bit pattern, see above
	c.Seq, c.Index = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	return c, true
}

func encodeIncidentCursor(c store.IncidentCursor) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.StartedAt.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.ID...))
}

func decodeIncidentCursor(s string) (c store.IncidentCursor, ok bool) {
	b, ok := cursorBytes(s)
	if !ok || len(b) < 9 || !utf8.Valid(b[8:]) {
		return c, false
	}
	c.StartedAt = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC() //nolint:gosec // a bit pattern, see above
	c.ID = string(b[8:])
	return c, true
}

// cursorBytes reads what is written in just one way: base64's decoder alone passes over line ends and spare bits.
func cursorBytes(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && base64.RawURLEncoding.EncodedLen(len(b)) == len(s)
}
