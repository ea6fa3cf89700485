package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// Foreign reads access tokens of tenants' own issuers (RFC 9068). A token's iss and aud lead to one entry of one tenant; that says which algorithms and
// whose keys count, and what the token may do. All that can be told without keys is, before any is fetched.
type Foreign struct {
	catalog IssuerStore
	keys    *issuerKeys
}

// IssuerStore is what Foreign needs of the catalog.
type IssuerStore interface {
	Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error)
}

// Fetch gets what is at an address, through the dial guard, with bounds on time and size.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// NewForeign reads tokens of the issuers in a catalog, whose keys are got by fetch.
func NewForeign(catalog IssuerStore, fetch Fetch, now func() time.Time, log *slog.Logger) *Foreign {
	return &Foreign{catalog: catalog, keys: newIssuerKeys(fetch, now, log)}
}

// ErrIssuerAway means: it cannot be told whether a token is good, since its issuer does not give its keys.
var ErrIssuerAway = errors.New("the issuer of this token does not give its keys at present")

// foreignClaims are what counts of a token; all but nbf and scope are required (RFC 9068, section 2.2).
type foreignClaims struct {
	issuer, subject         string
	audience                []string
	expires, issued, before float64
	scope                   string
	scoped                  bool // it has a scope
}

// read returns who a token speaks for and until when.
func (f *Foreign) read(ctx context.Context, token string, now time.Time) (p Principal, expires time.Time, err error) {
	h, payload, err := compact(token)
	if err != nil || !h.isAccessToken() {
		return p, expires, ErrBadCredentials
	}
	c, err := readForeign(payload)
	if err != nil || !c.good(now) {
		return p, expires, ErrBadCredentials
	}
	r, err := f.entry(ctx, &c)
	if err != nil {
		return p, expires, err
	}
	issuer, err := storedIssuer(&r)
	if err != nil {
		return p, expires, err
	}
	if issuer.Subject != "" && issuer.Subject != c.subject || !slices.Contains(issuer.Algorithms, h.algorithm()) {
		return p, expires, ErrBadCredentials
	}
	set, err := f.keys.get(ctx, &r, &issuer, h.KeyID)
	if err != nil {
		return p, expires, err
	}
	if _, _, err := set.verify(token); err != nil {
		return p, expires, ErrBadCredentials
	}
	if p, err = issuer.Principal(r.Tenant, r.Slug, c.subject); err != nil {
		return Principal{}, expires, err
	}
	p.revision = r.Revision
	if c.scoped {
		p = p.held(c.scope)
	}
	return p, time.Unix(int64(c.expires), 0), nil
}

// entry is the one issuer that a token leads to; one that leads to several is nobody's.
func (f *Foreign) entry(ctx context.Context, c *foreignClaims) (found store.Resource, err error) {
	n := 0
	for _, audience := range c.audience {
		r, err := f.catalog.Find(ctx, store.KindTokenIssuer, issuerLookup(c.issuer, audience))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return found, fmt.Errorf("cannot authenticate: %w", err)
		}
		if CheckAudience(r.Tenant, audience) != nil {
			continue // a tenant of that name only
		}
		found, n = r, n+1
	}
	if n != 1 {
		return found, ErrBadCredentials
	}
	return found, nil
}

func storedIssuer(r *store.Resource) (i TokenIssuer, err error) {
	if err := json.Unmarshal(r.Body, &i); err != nil {
		return i, fmt.Errorf("the stored issuer %q of tenant %q cannot be read, put it anew: %w", r.Slug, r.Tenant, err)
	}
	return i, nil
}

// good says whether a token is good now, as far as it says so itself.
func (c *foreignClaims) good(now time.Time) bool {
	at := float64(now.UnixNano()) / 1e9
	return at < c.expires && at+clockSkew.Seconds() >= max(c.before, c.issued)
}

// readForeign reads the claims of a token that nobody has verified yet.
func readForeign(payload []byte) (c foreignClaims, err error) {
	m, err := members(payload)
	if err != nil {
		return c, err
	}
	var client, id string
	for name, to := range map[string]*string{"iss": &c.issuer, "sub": &c.subject, "client_id": &client, "jti": &id} {
		if json.Unmarshal(m[name], to) != nil || *to == "" {
			return c, errToken
		}
	}
	if len(c.issuer) > maxAddress || len(c.subject) > maxSubject || strings.ContainsFunc(c.subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return c, errToken
	}
	for name, to := range map[string]*float64{"exp": &c.expires, "iat": &c.issued} {
		if json.Unmarshal(m[name], to) != nil || !isTime(*to) {
			return c, errToken
		}
	}
	if before, there := m["nbf"]; there && (json.Unmarshal(before, &c.before) != nil || !isTime(c.before)) {
		return c, errToken
	}
	if scope, there := m["scope"]; there {
		if c.scoped = true; json.Unmarshal(scope, &c.scope) != nil {
			return c, errToken
		}
	}
	c.audience, err = readAudience(m["aud"])
	return c, err
}

// isTime says whether a number is a time that a token can have: what is later than the year 5000 is a slip.
func isTime(seconds float64) bool { return !math.IsNaN(seconds) && seconds > 0 && seconds < 1e11 }

// readAudience reads one audience, or several.
func readAudience(b json.RawMessage) (out []string, err error) {
	var one string
	if json.Unmarshal(b, &one) == nil {
		out = []string{one}
	} else if json.Unmarshal(b, &out) != nil {
		return nil, errToken
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 || len(out) > maxAudiences || slices.Contains(out, "") {
		return nil, errToken
	}
	return out, nil
}

// holdsIssuer says whether a principal's issuer is what it was when its token was shown. Any change of it ends what its tokens have opened: who comes back is
// judged anew.
func (k *Keyring) holdsIssuer(ctx context.Context, p Principal) bool {
	slug, _, _ := strings.Cut(strings.TrimPrefix(p.Subject, issuerPrefix), ":")
	r, err := k.catalog.Get(ctx, p.Tenant, store.KindTokenIssuer, slug)
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	return err != nil || r.Revision == p.revision
}

// Try fetches an issuer's keys as they would be for a token, and says what is wrong with them.
func (f *Foreign) Try(ctx context.Context, i *TokenIssuer) error {
	_, err := f.keys.fetch(ctx, i)
	return err
}
