package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6238: what authenticator apps do; HMAC does not need what SHA-1 has lost
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Codes of authenticator apps (RFC 6238): six digits, a new one each 30 seconds. One that is a step early or late is taken, for clocks that differ.
const (
	totpBytes  = 20
	totpStep   = 30
	totpDigits = 6
	totpSkew   = 1
)

// Recovery codes: so many, each of 120 random bits, so that a plain hash is enough to keep of them.
const (
	recoveryCount = 10
	recoveryBytes = 15
	recoveryGroup = 6
)

func base32Text(b []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
}

func newTOTPSecret() string {
	b := make([]byte, totpBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the program first
	return base32Text(b)
}

// totpURL is what an authenticator app reads from a QR code.
func totpURL(secret, issuer, account string) string {
	q := url.Values{"secret": {secret}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {fmt.Sprint(totpDigits)}, "period": {fmt.Sprint(totpStep)}}
	return "otpauth://totp/" + url.PathEscape(issuer+":"+account) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// totpCode is the code of a step (RFC 4226, section 5.3).
func totpCode(secret []byte, step int64, digits int) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	power := uint32(1)
	for range digits {
		power *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%power)
}

// totpMatch is the step after last whose code this is, and false if there is none near now.
func totpMatch(secret, code string, last int64, now time.Time) (step int64, ok bool) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil || len(code) != totpDigits {
		return 0, false
	}
	current := now.Unix() / totpStep
	for s := current - totpSkew; s <= current+totpSkew; s++ {
		if s > last && same(totpCode(raw, s, totpDigits), code) {
			return s, true
		}
	}
	return 0, false
}

// bare is a code as it is compared, however it was written.
func bare(code string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, code))
}

func newRecovery() (codes, hashes []string) {
	for range recoveryCount {
		b := make([]byte, recoveryBytes)
		_, _ = rand.Read(b) // never fails: the runtime ends the program first
		text := base32Text(b)
		hashes = append(hashes, hashed(text))
		var groups []string
		for part := range slices.Chunk([]byte(strings.ToLower(text)), recoveryGroup) {
			groups = append(groups, string(part))
		}
		codes = append(codes, strings.Join(groups, "-"))
	}
	return codes, hashes
}

// use is a member's secrets without a code that was right, and false if it was not.
func use(old auth.MemberSecrets, code string, now time.Time) (auth.MemberSecrets, bool) {
	code = bare(code)
	if step, ok := totpMatch(old.TOTP, code, old.TOTPLast, now); ok {
		old.TOTPLast = step
		return old, true
	}
	if i := slices.Index(old.Recovery, hashed(code)); i >= 0 {
		old.Recovery = slices.Delete(slices.Clone(old.Recovery), i, i+1)
		return old, true
	}
	return old, false
}

// spend uses a code up: ErrWrongCode if it is not right. Of two that show the same at the same time, one has it.
func (s *Service) spend(ctx context.Context, e catalog.Entry[auth.Member], code string, now time.Time) (catalog.Entry[auth.Member], error) {
	return s.changing(ctx, e, func(m *auth.Member) error {
		secrets, ok := use(m.Secrets, code, now)
		if !ok {
			return ErrWrongCode
		}
		m.Secrets = secrets
		return nil
	})
}

// changing changes a member who may be changed by others at the same time: then it is done again to what they have made of it.
func (s *Service) changing(ctx context.Context, e catalog.Entry[auth.Member], change func(*auth.Member) error) (catalog.Entry[auth.Member], error) {
	for range 5 {
		m := e.Value
		if err := change(&m); err != nil {
			return e, err
		}
		next, err := s.Catalog.PutMember(ctx, e.Tenant, e.Slug, m, catalog.Condition(e.Revision))
		if !errors.Is(err, store.ErrConflict) {
			return next, err
		}
		if e, err = s.Catalog.Member(ctx, e.Tenant, e.Slug); err != nil {
			return e, err
		}
	}
	return e, store.ErrConflict
}
