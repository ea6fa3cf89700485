package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// A sealed body is the text sealed:1:NUMBER:BASE64, which no JSON begins like: 1 is this format, NUMBER the data key's. What BASE64 (raw, standard) holds
// is a nonce, then the ciphertext of the lookup's length as a varint, the lookup, and the body.
const (
	mark   = "sealed:"
	format = mark + "1:"
)

// place is the row that a body belongs to.
type place struct {
	tenant tenant.ID
	kind   store.Kind
	slug   string
}

// content is what is sealed of a resource.
type content struct {
	lookup string
	body   json.RawMessage
}

var (
	errDoesNotOpen = errors.New("it was changed, or moved from another row, since it was sealed")
	errFormat      = errors.New("it was sealed in a form that this version does not know")
)

// newAEAD is AES-256-GCM with a nonce of its own in front of each ciphertext.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// isSealed tells a sealed body from plain JSON.
func isSealed(body []byte) bool { return bytes.HasPrefix(body, []byte(mark)) }

// numberOf is the number of the data key that a sealed body names.
func numberOf(body []byte) (number int64, box []byte, err error) {
	rest, ok := bytes.CutPrefix(body, []byte(format))
	if !ok {
		return 0, nil, errFormat
	}
	digits, box, ok := bytes.Cut(rest, []byte(":"))
	number, err = strconv.ParseInt(string(digits), 10, 64)
	if !ok || err != nil || number < 1 || strconv.FormatInt(number, 10) != string(digits) {
		return 0, nil, errFormat
	}
	return number, box, nil
}

// bound is what a ciphertext is bound to. Lengths keep the parts apart.
func (p place) bound(number int64) []byte {
	b := binary.AppendVarint([]byte("pulsestream body 1"), number)
	for _, part := range []string{string(p.tenant), string(p.kind), p.slug} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}

// seal encrypts what a row says under a data key.
func seal(k cipher.AEAD, number int64, p place, c content) json.RawMessage {
	plain := append(binary.AppendUvarint(nil, uint64(len(c.lookup))), c.lookup...)
	plain = append(plain, c.body...)
	box := k.Seal(nil, nil, plain, p.bound(number)) //nolint:gosec // the AEAD makes a random nonce itself
	text := append([]byte(format), strconv.FormatInt(number, 10)...)
	return base64.RawStdEncoding.AppendEncode(append(text, ':'), box)
}

// open decrypts a box of a body that seal has made for the same row.
func open(k cipher.AEAD, number int64, p place, box []byte) (c content, err error) {
	raw, err := base64.RawStdEncoding.Strict().AppendDecode(nil, box)
	if err != nil || bytes.ContainsAny(box, "\r\n") { // the decoder passes over line breaks
		return c, errDoesNotOpen
	}
	plain, err := k.Open(nil, nil, raw, p.bound(number))
	if err != nil {
		return c, errDoesNotOpen
	}
	n, size := binary.Uvarint(plain)
	if size <= 0 || n > uint64(len(plain)-size) { //nolint:gosec // Uvarint has read size bytes of it
		return c, errFormat
	}
	plain = plain[size:]
	c.lookup = string(plain[:n])
	if body := plain[n:]; len(body) > 0 {
		c.body = body
	}
	return c, nil
}

// hidden is how a lookup of a sealed resource is stored. What is looked up by is long and random, or no secret.
func hidden(k store.Kind, lookup string) string {
	if lookup == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("pulsestream lookup 1\x00" + string(k) + "\x00" + lookup))
	return "sha256:" + hex.EncodeToString(sum[:])
}
