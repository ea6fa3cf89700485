package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
)

// Key is the body of a catalog resource of kind key, whose slug is the key's id and whose lookup is Lookup of the whole key.
type Key struct {
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Operator  bool      `json:"operator,omitempty"`   // of the installation; the first key is one
	CreatedBy string    `json:"created_by,omitempty"` // subject of the principal who made it
	CreatedAt time.Time `json:"created_at"`
}

// idBytes and secretBytes are how much of a key is random: 80 bits to name it, 200 bits to guess.
const (
	idBytes     = 10
	secretBytes = 25
)

var keyForm = regexp.MustCompile(`^ps_([a-z0-9][a-z0-9-]{0,62})_([A-Za-z0-9-]+)$`)

// NewKey makes a key, ps_<id>_<secret>. The id may be shown and is the slug of the key's resource; the whole key is shown once.
func NewKey() (full, id string) {
	id = random(idBytes)
	return joinKey(id, random(secretBytes)), id
}

func joinKey(id, secret string) string { return "ps_" + id + "_" + secret }

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

// random is n random bytes (a multiple of 5) in lower-case letters and digits: no character of it needs quoting anywhere, and
// a double click selects it all.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the runtime ends the program first
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}
