package vault

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Master wraps data keys.
type Master interface {
	// ID names the master key, without telling anything of it. It is kept beside what it has wrapped.
	ID() string
	// Opens says whether it may be the one, or of those, that wrapped something under this ID.
	Opens(id string) bool
	// Wrap encrypts a data key. What it is bound to is authenticated with it.
	Wrap(ctx context.Context, key []byte, boundTo string) ([]byte, error)
	// Unwrap gives back the data key.
	Unwrap(ctx context.Context, wrapped []byte, boundTo string) ([]byte, error)
}

// Masters are the master keys at hand.
type Masters interface {
	// Masters gives the current one, which wraps, and behind it those that only open what they have wrapped before; none when there are none. It is
	// asked again whenever others may have been given.
	Masters(ctx context.Context) ([]Master, error)
}

// keySize is the size of master keys and data keys, in bytes.
const keySize = 32

// local is a master key that this process knows.
type local struct {
	id   string
	aead cipher.AEAD
}

// newLocal makes a master of a key. What encrypts and what the key is named by are derived from it, so that they tell nothing of each other.
func newLocal(key []byte) (*local, error) {
	wrapping, err := hkdf.Key(sha256.New, key, nil, "pulsestream master key 1: wrap", keySize)
	if err != nil {
		return nil, err
	}
	name, err := hkdf.Key(sha256.New, key, nil, "pulsestream master key 1: name", 8)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(wrapping)
	if err != nil {
		return nil, err
	}
	return &local{id: "key:" + hex.EncodeToString(name), aead: aead}, nil
}

func (l *local) ID() string           { return l.id }
func (l *local) Opens(id string) bool { return id == l.id }

func (l *local) Wrap(_ context.Context, key []byte, boundTo string) ([]byte, error) {
	return l.aead.Seal(nil, nil, key, []byte(boundTo)), nil //nolint:gosec // the AEAD makes a random nonce itself
}

func (l *local) Unwrap(_ context.Context, wrapped []byte, boundTo string) ([]byte, error) {
	key, err := l.aead.Open(nil, nil, wrapped, []byte(boundTo))
	if err != nil {
		return nil, errors.New("what it has wrapped was changed since")
	}
	return key, nil
}

var errKeyForm = errors.New("a key is 32 random bytes as base64 or hex, such as openssl rand -base64 32 prints; several are on lines of their own, the current one first")

// ParseKeys reads master keys from a file or a variable: one a line, or with commas between them, the current one first. Errors say nothing of what was read.
func ParseKeys(text string) ([]Master, error) {
	var out []Master
	for _, line := range keyLines(text) {
		key, err := parseKey(line)
		if err != nil {
			return nil, err
		}
		m, err := newLocal(key)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it is empty: %w", errKeyForm)
	}
	return out, nil
}

func keyLines(text string) []string {
	var out []string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' || r == ',' }) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

func parseKey(s string) ([]byte, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == keySize {
		return b, distinct(b)
	}
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	if b, err := base64.RawStdEncoding.DecodeString(s); err == nil && len(b) == keySize {
		return b, distinct(b)
	}
	return nil, errKeyForm
}

// distinct refuses what is no random key: of those, fewer than one in 10^14 has so few different bytes.
func distinct(key []byte) error {
	seen := map[byte]bool{}
	for _, b := range key {
		seen[b] = true
	}
	if len(seen) < 16 {
		return fmt.Errorf("this one is not random: %w", errKeyForm)
	}
	return nil
}
