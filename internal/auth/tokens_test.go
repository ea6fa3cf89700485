package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
)

const home = "https://pulse.example.com"

// bench is an installation with one tenant's key, and a clock that can be set.
type bench struct {
	catalog *sqlite.Store
	now     time.Time
	signing *Signing
	tokens  *Tokens
	keys    *Keys
	ring    *Keyring
}

func newBench(t *testing.T, issuer string) *bench {
	t.Helper()
	b := &bench{catalog: newCatalog(t), now: start()}
	clock := func() time.Time { return b.now }
	b.signing = NewSigning(b.catalog, clock)
	b.tokens = NewTokens(b.catalog, b.signing, issuer, nil)
	b.keys = NewKeys(b.catalog, b.tokens)
	b.ring = NewKeyring(b.catalog, clock)
	return b
}

// key makes a key of the tenant acme.
func (b *bench) key(t *testing.T, role Role, scopes ...Permission) (id, secret, full string) {
	t.Helper()
	owner := Principal{Tenant: "acme", Subject: "key:owner", Role: RoleOwner}
	k, full, err := b.ring.Make(t.Context(), "acme", Key{Name: "app", Role: role, Scopes: scopes}, owner)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID, strings.TrimPrefix(full, "ps_"+k.ID+"_"), full
}

func (b *bench) token(t *testing.T, id, secret, scope string) AccessToken {
	t.Helper()
	token, err := b.tokens.Give(t.Context(), id, secret, scope, "http://127.0.0.1:8080", b.now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (b *bench) who(t *testing.T, bearer string) (Principal, error) {
	t.Helper()
	return b.keys.Authenticate(t.Context(), bearer, b.now)
}

func TestATokenMayDoWhatItsKeyMayAndIsHeldToTheScopeThatWasAskedFor(t *testing.T) {
	b := newBench(t, home)
	id, secret, _ := b.key(t, RoleEditor)
	all, few := b.token(t, id, secret, ""), b.token(t, id, secret, "events:write metrics:read")
	if all.Expires != time.Hour || few.Scope != "events:write metrics:read" {
		t.Errorf("%+v, %+v", all, few)
	}
	p, err := b.who(t, all.Token)
	if err != nil || p.Tenant != "acme" || p.Subject != "key:"+id || !reflect.DeepEqual(p.Permissions(), (Principal{Role: RoleEditor}).Permissions()) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = b.who(t, few.Token); err != nil || !slices.Equal(p.Permissions(), []Permission{EventsWrite, MetricsRead}) {
		t.Errorf("%v, %v", p.Permissions(), err)
	}
	for _, scope := range []string{"keys:write", "events:write keys:write", "no:such"} {
		if _, err := b.tokens.Give(t.Context(), id, secret, scope, "", b.now); !errors.Is(err, ErrBadScope) {
			t.Errorf("an editor's key is given %q: %v", scope, err)
		}
	}
}

func TestOnlyAKeyThatIsGoodGetsAToken(t *testing.T) {
	b := newBench(t, home)
	id, secret, full := b.key(t, RoleIngest)
	other, otherSecret, _ := b.key(t, RoleIngest)
	if _, err := b.tokens.Give(t.Context(), id, full, "", home, b.now); err != nil {
		t.Errorf("the whole key in the place of the secret: %v", err)
	}
	for name, c := range map[string][2]string{"another's secret": {id, otherSecret}, "another's id": {other, secret}, "no secret": {id, ""}, "no id": {"", secret},
		"nothing": {}, "another's whole key": {other, full}, "a slip": {id, secret[:5] + "a" + secret[6:] + "x"}} {
		if _, err := b.tokens.Give(t.Context(), c[0], c[1], "", home, b.now); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATokenEndsWithItsTimeAndWithItsKey(t *testing.T) {
	b := newBench(t, home)
	id, secret, _ := b.key(t, RoleViewer)
	token := b.token(t, id, secret, "").Token
	b.now = start().Add(time.Hour - time.Second)
	if _, err := b.who(t, token); err != nil {
		t.Error("it has a second left", err)
	}
	p, err := b.who(t, token)
	if err != nil || !b.ring.Holds(t.Context(), p) {
		t.Error("a connection that it opened goes on", err)
	}
	b.now = start().Add(time.Hour)
	if _, err := b.who(t, token); !errors.Is(err, ErrBadCredentials) {
		t.Error("it has expired", err)
	}
	if b.ring.Holds(t.Context(), p) {
		t.Error("a connection goes on with a token that has expired")
	}
	token = b.token(t, id, secret, "").Token
	if _, err := b.who(t, token); err != nil {
		t.Fatal(err)
	}
	if err := b.ring.Revoke(t.Context(), Principal{Tenant: "acme", Subject: "key:owner", Role: RoleOwner}, id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.who(t, token); !errors.Is(err, ErrBadCredentials) {
		t.Error("its key was revoked", err)
	}
}

// forge signs claims that Give would not, with the installation's own key.
func (b *bench) forge(t *testing.T, typ string, change func(*claims)) string {
	t.Helper()
	id, _, _ := b.key(t, RoleOwner)
	c := claims{Issuer: home, Subject: "key:" + id, Audience: home, Client: id, Tenant: "acme", Scope: "events:read", Issued: b.now.Unix(), Before: b.now.Unix(), Expires: b.now.Add(time.Hour).Unix()}
	change(&c)
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	token, err := b.signing.sign(t.Context(), typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestEveryClaimOfATokenCounts(t *testing.T) {
	b := newBench(t, home)
	if _, err := b.who(t, b.forge(t, "at+jwt", func(*claims) {})); err != nil {
		t.Fatal("it is as Give makes it", err)
	}
	for name, token := range map[string]string{
		"another type":       b.forge(t, "JWT", func(*claims) {}),
		"no type":            b.forge(t, "", func(*claims) {}),
		"another issuer":     b.forge(t, "at+jwt", func(c *claims) { c.Issuer = "https://evil.example.com" }),
		"another audience":   b.forge(t, "at+jwt", func(c *claims) { c.Audience = "https://other.example.com" }),
		"no audience":        b.forge(t, "at+jwt", func(c *claims) { c.Audience = "" }),
		"expired":            b.forge(t, "at+jwt", func(c *claims) { c.Expires = b.now.Unix() }),
		"never expires":      b.forge(t, "at+jwt", func(c *claims) { c.Expires = 0 }),
		"not yet good":       b.forge(t, "at+jwt", func(c *claims) { c.Before = b.now.Add(time.Minute).Unix() }),
		"issued later":       b.forge(t, "at+jwt", func(c *claims) { c.Issued = b.now.Add(time.Minute).Unix() }),
		"another subject":    b.forge(t, "at+jwt", func(c *claims) { c.Subject = "key:somebody" }),
		"another tenant":     b.forge(t, "at+jwt", func(c *claims) { c.Tenant = "blue" }),
		"no tenant":          b.forge(t, "at+jwt", func(c *claims) { c.Tenant = "" }),
		"no client":          b.forge(t, "at+jwt", func(c *claims) { c.Client, c.Subject = "", "key:" }),
		"the installation's": b.forge(t, "at+jwt", func(c *claims) { c.Tenant = "*" }),
	} {
		if p, err := b.who(t, token); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if p, err := b.who(t, b.forge(t, "at+jwt", func(c *claims) { c.Scope = "" })); err != nil || len(p.Permissions()) > 0 {
		t.Errorf("a token without a scope may do %v, %v", p.Permissions(), err)
	}
}

func TestATokenOfSomebodyElsesKeyIsRefusedWhateverItsHeaderSays(t *testing.T) {
	b := newBench(t, home)
	genuine := b.forge(t, "at+jwt", func(*claims) {})
	parts := strings.Split(genuine, ".")
	header := func(h map[string]any) string {
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	keys, err := b.signing.Published(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys, &set); err != nil || len(set.Keys) != 1 {
		t.Fatal(err, string(keys))
	}
	kid := set.Keys[0].KeyID
	public, err := set.Keys[0].MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	// The public key as the secret of an HMAC: the classic confusion.
	confused, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	signed, err := confused.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"HMAC with the public key": hmac,
		"none":                     header(map[string]any{"alg": "none", "typ": "at+jwt", "kid": kid}) + "." + parts[1] + ".",
		"another kid":              header(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "period-0"}) + "." + parts[1] + "." + parts[2],
		"a key of its own":         header(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": json.RawMessage(public)}) + "." + parts[1] + "." + parts[2],
		"without a signature":      parts[0] + "." + parts[1] + ".",
		"another payload":          parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{}`)) + "." + parts[2],
	} {
		if _, err := b.who(t, token); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if other := newBench(t, home); true {
		if _, err := other.who(t, genuine); !errors.Is(err, ErrBadCredentials) {
			t.Error("another installation takes it", err)
		}
	}
}

func TestSigningKeysTakeTurnsAndNoTokenIsCutOffByThat(t *testing.T) {
	b := newBench(t, home)
	clock := func() time.Time { return b.now }
	ids := func() (out []string) {
		text, err := NewSigning(b.catalog, clock).Published(t.Context()) // another process
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []struct{ Kid, D string } }
		if err := json.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			if k.D != "" {
				t.Fatal("a private key is published")
			}
			out = append(out, k.Kid)
		}
		return out
	}
	boundary := time.Unix((period(b.now)+1)*int64(signingPeriod/time.Second), 0)
	b.now = boundary.Add(-25 * time.Hour)
	first := ids()
	b.now = boundary.Add(-23 * time.Hour)
	second := ids()
	if len(first) != 1 || len(second) != 2 || second[0] != first[0] {
		t.Errorf("a day before the next key is used it is published: %v, then %v", first, second)
	}
	id, secret, _ := b.key(t, RoleViewer)
	b.now = boundary.Add(-time.Minute)
	token := b.token(t, id, secret, "").Token
	b.now = boundary.Add(30 * time.Minute)
	if _, err := b.who(t, token); err != nil {
		t.Error("a token of the last period is good to its end", err)
	}
	later := b.token(t, id, secret, "").Token
	if h := strings.Split(later, ".")[0]; h == strings.Split(token, ".")[0] {
		t.Error("the new period signs with the old key")
	}
	if third := ids(); !slices.Equal(third, second) {
		t.Errorf("published is %v, was %v", third, second)
	}
	b.now = boundary.Add(4 * signingPeriod)
	ids()
	if left, err := b.catalog.List(t.Context(), installation, store.KindSigningKey); err != nil || len(left) > 4 {
		t.Errorf("%d keys are kept, %v", len(left), err)
	}
}

func TestWithoutAPublicAddressATokenIsGoodUnderEveryNameOfTheServer(t *testing.T) {
	b := newBench(t, "")
	id, secret, _ := b.key(t, RoleViewer)
	token := b.token(t, id, secret, "").Token
	if p, err := b.who(t, token); err != nil || p.Tenant != "acme" {
		t.Error(p, err)
	}
}

func TestARotatedKeyIsReplacedAndStaysGoodForTheOverlap(t *testing.T) {
	b := newBench(t, home)
	id, _, old := b.key(t, RoleEditor, EventsWrite, EventsRead)
	owner := Principal{Tenant: "acme", Subject: "key:owner", Role: RoleOwner}
	fresh, full, err := b.ring.Rotate(t.Context(), owner, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before, err := b.who(t, old)
	if err != nil {
		t.Fatal(err)
	}
	after, err := b.who(t, full)
	if err != nil || !slices.Equal(after.Permissions(), before.Permissions()) || after.Name != before.Name || fresh.ID == id {
		t.Errorf("%+v became %+v, %v", before, after, err)
	}
	b.now = b.now.Add(time.Hour)
	if _, err := b.who(t, old); !errors.Is(err, ErrBadCredentials) {
		t.Error("the overlap is over", err)
	}
	if _, err := b.who(t, full); err != nil {
		t.Error(err)
	}
	if _, _, err := b.ring.Rotate(t.Context(), owner, id, time.Hour); !errors.Is(err, ErrKeyExpired) {
		t.Error("what has expired is rotated", err)
	}
	newest, _, err := b.ring.Rotate(t.Context(), owner, fresh.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.ring.Rotate(t.Context(), owner, fresh.ID, time.Hour); !errors.Is(err, ErrKeyExpired) {
		t.Error("a key that was replaced is replaced once more", err)
	}
	if _, _, err := b.ring.Rotate(t.Context(), Principal{Tenant: "blue", Role: RoleOwner}, newest.ID, 0); !errors.Is(err, store.ErrNotFound) {
		t.Error("another tenant's key", err)
	}
	if _, _, err := b.ring.Rotate(t.Context(), Principal{Tenant: "acme", Role: RoleViewer}, newest.ID, 0); !errors.Is(err, ErrNotCovered) {
		t.Error("a viewer", err)
	}
}

func TestAKeyThatExpiresIsRefusedFromThatMomentOn(t *testing.T) {
	b := newBench(t, home)
	until := start().Add(time.Minute)
	_, full, err := b.ring.Make(t.Context(), "acme", Key{Name: "short", Role: RoleViewer, ExpiresAt: &until}, Principal{Tenant: "acme", Role: RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	b.now = until.Add(-time.Millisecond)
	if _, err := b.who(t, full); err != nil { // it is remembered now
		t.Error(err)
	}
	b.now = until
	if _, err := b.who(t, full); !errors.Is(err, ErrBadCredentials) {
		t.Error(err)
	}
	id, _ := KeyID(full)
	if b.ring.Holds(t.Context(), Principal{Tenant: "acme", Subject: keySubject(id)}) {
		t.Error("a connection goes on with it")
	}
}

func TestAScopedKeyMakesNoMightierOne(t *testing.T) {
	b := newBench(t, home)
	scope, err := NewScope([]Permission{KeysWrite, EventsWrite})
	if err != nil {
		t.Fatal(err)
	}
	by := Principal{Tenant: "acme", Subject: "key:x", Role: RoleAdmin, Scope: scope}
	for name, c := range map[string]struct {
		ask Key
		ok  bool
	}{
		"all of a role":                     {Key{Role: RoleIngest}, false}, // tenant:read is not in the scope
		"within its scope":                  {Key{Role: RoleIngest, Scopes: []Permission{EventsWrite}}, true},
		"its own":                           {Key{Role: RoleAdmin, Scopes: []Permission{KeysWrite, EventsWrite}}, true},
		"more than it has":                  {Key{Role: RoleAdmin, Scopes: []Permission{KeysWrite, EventsRead}}, false},
		"all of its own role":               {Key{Role: RoleAdmin}, false},
		"a mightier role held to its scope": {Key{Role: RoleOwner, Scopes: []Permission{KeysWrite}}, false}, // SCIM looks at the role
		"a role without a table":            {Key{Role: "god", Scopes: []Permission{EventsWrite}}, false},
	} {
		_, _, err := b.ring.Make(t.Context(), "acme", c.ask, by)
		if ok := err == nil; ok != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := b.ring.Make(t.Context(), "acme", Key{Role: RoleViewer, Scopes: []Permission{"no:such"}}, by); err == nil {
		t.Error("a permission that does not exist is taken")
	}
}

func TestAMistypedKeyIsNotLookedFor(t *testing.T) {
	c := &counted{Catalog: newCatalog(t)}
	k := NewKeys(c, nil)
	full, id := NewKey()
	addKey(t, c, "acme", id, full, RoleViewer)
	if _, err := k.Authenticate(t.Context(), full, start()); err != nil || c.finds != 1 {
		t.Fatal(err, c.finds)
	}
	for i := len("ps_"); i < len(full); i++ {
		if full[i] == '_' {
			continue
		}
		other := byte('a')
		if full[i] == other {
			other = 'b'
		}
		typed := full[:i] + string(other) + full[i+1:]
		if _, err := k.Authenticate(t.Context(), typed, start()); !errors.Is(err, ErrBadCredentials) {
			t.Fatalf("%s: %v", typed, err)
		}
	}
	if c.finds != 1 {
		t.Errorf("%d keys with one wrong character were looked for", c.finds-1)
	}
	earlier := JoinKey("abcdefghijklmnop", strings.Repeat("a", 40)) // of the first release, without a checksum
	addKey(t, c, "acme", "abcdefghijklmnop", earlier, RoleViewer)
	if _, err := k.Authenticate(t.Context(), earlier, start()); err != nil {
		t.Error(err)
	}
}
