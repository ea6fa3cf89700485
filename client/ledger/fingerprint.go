package ledger

import (
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint is a short fingerprint of an event's data, the very bytes of its JSON text.
func Fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
