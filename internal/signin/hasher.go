package signin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// What a hash costs: OWASP's least for argon2id. Kept with each hash, so that these can be raised.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2
	hashThreads = 1
	hashBytes   = 32
	saltBytes   = 16
	// mostMemory and mostTime bound what a stored hash may ask for.
	mostMemory = 1 << 20
	mostTime   = 64
)

// ErrBusy means: too many people sign in at this moment.
var ErrBusy = errors.New("too many sign-ins are under way: try again in a moment")

// hashWait is how long somebody waits for their turn.
const hashWait = 5 * time.Second

// hasher hashes passwords, so many at a time: each takes memory and a core.
type hasher struct {
	room   chan struct{}
	memory uint32 // KiB
	passes uint32
}

func newHasher() *hasher {
	return &hasher{room: make(chan struct{}, runtime.GOMAXPROCS(0)), memory: hashMemory, passes: hashTime}
}

func (h *hasher) key(ctx context.Context, password string, salt []byte, passes, memory uint32, threads uint8) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hashWait, ErrBusy)
	defer cancel()
	select {
	case h.room <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-h.room }()
	return argon2.IDKey([]byte(norm.NFKC.String(password)), salt, passes, memory, threads, hashBytes), nil
}

// hash is what is kept of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: the runtime ends the program first
	key, err := h.key(ctx, password, salt, h.passes, h.memory, hashThreads)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, hashThreads, b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// matches says whether a password is the one that was hashed. Where there is no hash it takes as long to say no.
func (h *hasher) matches(ctx context.Context, stored, password string) (bool, error) {
	if stored == "" {
		var salt [saltBytes]byte
		_, err := h.key(ctx, password, salt[:], h.passes, h.memory, hashThreads)
		return false, err
	}
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, errors.New("a stored password hash cannot be read: invite its member again")
	}
	_, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads)
	salt, err2 := base64.RawStdEncoding.DecodeString(parts[4])
	if err = errors.Join(err, err2); err != nil || version != argon2.Version || memory > mostMemory || passes == 0 || passes > mostTime || threads == 0 {
		return false, errors.New("a stored password hash cannot be read: invite its member again")
	}
	key, err := h.key(ctx, password, salt, passes, memory, threads)
	return err == nil && same(base64.RawStdEncoding.EncodeToString(key), parts[5]), err
}
