package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// TokenIssuer is somebody else's server whose access tokens a tenant takes: the body of a catalog resource of kind token-issuer, whose lookup is Lookup.
type TokenIssuer struct {
	Name string `json:"name,omitempty"`
	// Issuer is what its tokens have as iss, letter for letter.
	Issuer string `json:"issuer"`
	// JWKSURL is where its keys are; without one they are looked for by what the issuer publishes of itself.
	JWKSURL string `json:"jwks_url,omitempty"`
	// Audience is what its tokens for this tenant have among their aud. It ends in the tenant's id: see CheckAudience.
	Audience   string                    `json:"audience"`
	Algorithms []jose.SignatureAlgorithm `json:"algorithms"`
	Role       Role                      `json:"role"`
	Scopes     []Permission              `json:"scopes,omitempty"`
	// Subject is the only one whose tokens are taken; empty takes any.
	Subject string `json:"subject,omitempty"`
}

// InvalidField is what is wrong with one field of what somebody has entered.
type InvalidField struct{ Field, Message string }

// Invalid is everything that is wrong with it.
type Invalid []InvalidField

func (e Invalid) Error() string {
	texts := make([]string, 0, len(e))
	for _, f := range e {
		texts = append(texts, f.Field+": "+f.Message)
	}
	return strings.Join(texts, "; ")
}

func (e *Invalid) check(field string, err error) {
	if err != nil {
		*e = append(*e, InvalidField{field, err.Error()})
	}
}

// Bounds of what is entered and of what a token may have.
const (
	maxAddress   = 512
	maxSubject   = 255
	maxAudiences = 8
)

// DefaultAudience is the audience of a tenant's issuers that name none.
func DefaultAudience(t tenant.ID) string { return "urn:pulsestream:" + string(t) }

// CheckAudience says what is wrong with an audience of a tenant's issuer, or nil. Its last word is the tenant's id, so no two tenants have one in common:
// whoever issues a token says in it which tenant it is for, and nobody can register what leads another's tokens to themselves.
func CheckAudience(t tenant.ID, audience string) error {
	if len(audience) > maxAddress || strings.ContainsFunc(audience, unprintable) {
		return fmt.Errorf("it has at most %d printable characters", maxAddress)
	}
	if i := strings.LastIndexAny(audience, ":/"); i > 0 && audience[i+1:] == string(t) {
		return nil
	}
	return fmt.Errorf("it has to end in the tenant's id after a colon or a slash, so that a token says whose it is: %s, or https://pulse.example.com/%s", DefaultAudience(t), t)
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }

// Check fills in what was left out and returns an Invalid, or nil.
func (i *TokenIssuer) Check(t tenant.ID) error {
	var bad Invalid
	if i.Audience == "" {
		i.Audience = DefaultAudience(t)
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256}
	}
	bad.check("issuer", CheckAddress(i.Issuer))
	if u, err := url.Parse(i.Issuer); err == nil && (u.RawQuery != "" || u.ForceQuery) {
		bad.check("issuer", errors.New("an issuer's address has no query"))
	}
	if i.JWKSURL != "" {
		bad.check("jwks_url", CheckAddress(i.JWKSURL))
	}
	bad.check("audience", CheckAudience(t, i.Audience))
	for _, a := range i.Algorithms {
		if !slices.Contains(algorithms(), a) {
			bad.check("algorithms", fmt.Errorf("%q is none of %v: what is trusted is signed, by a key that nobody else has", string(a), algorithms()))
		}
	}
	if !i.Role.Valid() {
		bad.check("role", fmt.Errorf("it is one of %v", Roles()))
	}
	_, err := NewScope(i.Scopes)
	bad.check("scopes", err)
	if len(i.Subject) > maxSubject {
		bad.check("subject", fmt.Errorf("it has at most %d characters", maxSubject))
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// CheckAddress says what is wrong with an address that trust is got from, or nil. It is read by https, so that nobody on the way can change what it says, or
// on this machine.
func CheckAddress(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxAddress || strings.ContainsFunc(text, unprintable):
		return fmt.Errorf("it has at most %d printable characters", maxAddress)
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("it is an address such as https://login.example.com")
	case u.User != nil || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return errors.New("it has no user and no fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !here(u.Hostname())):
		return errors.New("it begins with https://")
	}
	return nil
}

// here says whether a host is this machine by its name alone.
func here(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Lookup finds the issuer that a token names by its iss and one of its aud.
func (i *TokenIssuer) Lookup() string { return issuerLookup(i.Issuer, i.Audience) }

func issuerLookup(issuer, audience string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + audience))
	return hex.EncodeToString(sum[:])
}

// Principal is who an issuer's token for a subject speaks for.
func (i *TokenIssuer) Principal(t tenant.ID, slug, subject string) (Principal, error) {
	scope, err := NewScope(i.Scopes)
	if err != nil {
		return Principal{}, fmt.Errorf("the stored issuer %q of tenant %q: %w", slug, t, err)
	}
	return Principal{Tenant: t, Subject: issuerPrefix + slug + ":" + subject, Name: slug, Role: i.Role, Scope: scope}, nil
}

// issuerPrefix is what subjects of principals begin with who have shown a token of a tenant's issuer.
const issuerPrefix = "issuer:"
