package signin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// AttemptTTL is how long somebody may take at their identity provider.
const AttemptTTL = 10 * time.Minute

// Attempt is a sign-in at an identity provider that a browser has begun. Its three words follow from a secret that only a cookie of that browser has,
// together with the tenant, the provider and the time. So none of them is good in another browser, for another provider, or later; and no
// process has to remember anything.
type Attempt struct {
	State    string // comes back in the address
	Nonce    string // comes back in the identity provider's word
	Verifier string // is shown for the code (PKCE)
}

// NewAttempt begins one.
func NewAttempt(t tenant.ID, provider string, now time.Time) (cookie string, a Attempt) {
	secret := secretToken()
	at := strconv.FormatInt(now.Unix(), 10)
	return at + "." + secret, attempt(secret, at, t, provider)
}

// ReadAttempt is the attempt of a cookie, and false if there is none, or it was begun too long ago.
func ReadAttempt(cookie string, t tenant.ID, provider string, now time.Time) (Attempt, bool) {
	at, secret, ok := strings.Cut(cookie, ".")
	began, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || len(secret) != len(secretToken()) || now.After(time.Unix(began, 0).Add(AttemptTTL)) || now.Before(time.Unix(began, 0).Add(-time.Minute)) {
		return Attempt{}, false
	}
	return attempt(secret, at, t, provider), true
}

func attempt(secret, at string, t tenant.ID, provider string) Attempt {
	word := func(what string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(strings.Join([]string{what, string(t), provider, at}, "\x00")))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return Attempt{State: word("state"), Nonce: word("nonce"), Verifier: word("verifier")}
}

// Matches says whether a state that came back is the attempt's.
func (a Attempt) Matches(state string) bool { return state != "" && same(a.State, state) }
