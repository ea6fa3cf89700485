package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"hash/crc32"
	"regexp"
	"strings"
	"time"
)

// Key is the body of a catalog resource of kind key, whose slug is the key's id and whose lookup is Lookup of the whole key.
type Key struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Operator bool   `json:"operator,omitempty"` // of the installation; the first key is one
	// Scopes holds it to some of what its role may do; none to nothing.
	Scopes    []Permission `json:"scopes,omitempty"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"` // nil: never
	// RateLimit is how many events a second may be sent with it on average, beside what the tenant may; 0 is no limit.
	RateLimit float64 `json:"rate_limit,omitempty"`
	// Replaced says that it was rotated: another is in its place, and it is good until it expires.
	Replaced  bool      `json:"replaced,omitempty"`
	CreatedBy string    `json:"created_by,omitempty"` // subject of the principal who made it
	CreatedAt time.Time `json:"created_at"`
}

// Expired says whether the key is good for nothing any more.
func (k *Key) Expired(now time.Time) bool { return k.ExpiresAt != nil && !now.Before(*k.ExpiresAt) }

// KeyPattern is what every key looks like that is made here, for those who search for leaked ones.
const KeyPattern = `ps_[a-z2-7]{16}_[a-z2-7]{47}`

// idBytes and secretBytes are how much of a key is random: 80 bits to name it, 200 bits to guess. What follows in the secret is the checksum.
const (
	idBytes       = 10
	secretBytes   = 25
	secretChars   = secretBytes * 8 / 5
	checksumChars = 7
)

// alphabet is that of base32 in lower case: no character of it needs quoting anywhere, and a double click selects all of a key's half.
const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

var keyForm = regexp.MustCompile(`^ps_([a-z0-9][a-z0-9-]{0,62})_([A-Za-z0-9-]+)$`)

// NewKey makes a key, ps_<id>_<secret>. The id may be shown and is the slug of the key's resource; the whole key is shown once.
func NewKey() (full, id string) {
	id = random(idBytes)
	full = JoinKey(id, random(secretBytes))
	sum := checksum(full)
	return full + string(sum[:]), id
}

// JoinKey is the key of an id and a secret.
func JoinKey(id, secret string) string { return "ps_" + id + "_" + secret }

// checksum is what a key ends in: it tells a slip of the pen from a key, and a scanner a key from what only looks like one.
func checksum(rest string) (out [checksumChars]byte) {
	bits := uint64(crc32.ChecksumIEEE([]byte(rest))) << 3 // 35 bits make 7 characters
	for i := range out {
		out[i] = alphabet[bits>>(5*(checksumChars-1-i))&31]
	}
	return out
}

// mistyped says whether a key has the form of those that are made here, and not its checksum: there is no need to look for it. Keys of the first
// release had none, and a first key that was given may have any form.
func mistyped(full string) bool {
	const head = len("ps_") + idBytes*8/5
	if len(full) != head+1+secretChars+checksumChars || full[:3] != "ps_" || full[head] != '_' {
		return false
	}
	end := len(full) - checksumChars
	sum := checksum(full[:end])
	return full[end:] != string(sum[:])
}

// KeyID returns the id in a key of the form ps_<id>_<secret>.
func KeyID(full string) (id string, ok bool) {
	m := keyForm.FindStringSubmatch(full)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// Lookup is what the catalog keeps of a key.
func Lookup(full string) string {
	sum := sha256.Sum256([]byte(full))
	return hex.EncodeToString(sum[:])
}

// random is n random bytes (a multiple of 5) in the alphabet.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the runtime ends the program first
	return encode(b)
}

func encode(b []byte) string { return strings.ToLower(base32.StdEncoding.EncodeToString(b)) }
