package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// foreignServer is an issuer of tokens as companies run one: a server that publishes its metadata and keys.
type foreignServer struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey // private
	lies    string            // the issuer that its metadata speaks of, if not itself
	away    atomic.Bool
	hold    chan struct{} // a fetch of keys waits for it; nil: none does
	fetched atomic.Int32  // how often its keys were
}

func newForeignServer(t *testing.T) *foreignServer {
	t.Helper()
	s := &foreignServer{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		issuer := s.URL
		if s.lies != "" {
			issuer = s.lies
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenants/one", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL + "/tenants/one", "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		s.fetched.Add(1)
		if s.hold != nil {
			select {
			case <-s.hold:
			case <-r.Context().Done():
			}
		}
		if s.away.Load() {
			http.Error(w, "not now", http.StatusBadGateway)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		var set jose.JSONWebKeySet
		for _, k := range s.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.rotate(t, "first")
	return s
}

// rotate gives it a new key, and none else.
func (s *foreignServer) rotate(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	k := ecKey(t, kid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []jose.JSONWebKey{k}
	return k
}

func ecKey(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: private, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

func httpFetch(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// foreignBench is an installation whose tenant acme takes tokens of an issuer.
type foreignBench struct {
	*bench
	server  *foreignServer
	foreign *Foreign
	log     bytes.Buffer
	mu      sync.Mutex
}

func (f *foreignBench) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *foreignBench) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func newForeignBench(t *testing.T) *foreignBench {
	t.Helper()
	f := &foreignBench{bench: newBench(t, home), server: newForeignServer(t)}
	f.restart()
	f.register(t, "acme", "login", func(*TokenIssuer) {})
	return f
}

// restart forgets all keys, as another process of the installation has none.
func (f *foreignBench) restart() {
	f.foreign = NewForeign(f.catalog, httpFetch, f.clock, slog.New(slog.NewTextHandler(&f.log, nil)))
	f.tokens = NewTokens(f.catalog, f.signing, home, f.foreign)
	f.keys = NewKeys(f.catalog, f.tokens)
}

func (f *foreignBench) register(t *testing.T, of tenant.ID, slug string, change func(*TokenIssuer)) {
	t.Helper()
	i := TokenIssuer{Issuer: f.server.URL, Role: RoleEditor, Algorithms: []jose.SignatureAlgorithm{jose.ES256}}
	change(&i)
	if err := i.Check(of); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.catalog.Put(t.Context(), store.Put{Tenant: of, Kind: store.KindTokenIssuer, Slug: slug, Lookup: i.Lookup(), Body: body, At: f.now}); err != nil {
		t.Fatal(err)
	}
}

func (f *foreignBench) claims(change func(map[string]any)) map[string]any {
	now := f.clock()
	c := map[string]any{"iss": f.server.URL, "sub": "robot", "aud": DefaultAudience("acme"), "client_id": "robot", "jti": "1", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	change(c)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

// issued is a token that the issuer gives.
func (f *foreignBench) issued(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	return signed(t, f.server.keys[0], map[jose.HeaderKey]any{"typ": "at+jwt"}, f.claims(change))
}

func signed(t *testing.T, key jose.JSONWebKey, header map[jose.HeaderKey]any, claims any) string {
	t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	maps.Copy(o.ExtraHeaders, header)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := claims.([]byte)
	if !ok {
		if payload, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	s, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func asIs(map[string]any) {}

func TestATokenOfATenantsOwnIssuerSpeaksForThatTenantWithTheRoleTheTenantGaveIt(t *testing.T) {
	f := newForeignBench(t)
	p, err := f.who(t, f.issued(t, asIs))
	if err != nil || p.Tenant != "acme" || p.Subject != "issuer:login:robot" || p.Name != "login" || p.Role != RoleEditor || p.Operator || !p.Expires.Equal(time.Unix(f.now.Add(time.Hour).Unix(), 0)) {
		t.Fatalf("%+v, %v", p, err)
	}
	if !slices.Equal(p.Permissions(), (Principal{Role: RoleEditor}).Permissions()) {
		t.Error(p.Permissions())
	}
	if p, err := f.who(t, f.issued(t, func(c map[string]any) { c["aud"] = []string{"account", DefaultAudience("acme")} })); err != nil || p.Tenant != "acme" {
		t.Errorf("one of several audiences: %+v, %v", p, err)
	}
	p, err = f.who(t, f.issued(t, func(c map[string]any) { c["scope"] = "openid events:read keys:write" }))
	if err != nil || !slices.Equal(p.Permissions(), []Permission{EventsRead}) {
		t.Errorf("a token is held to its scope, and gets nothing by it that the role has not: %v, %v", p.Permissions(), err)
	}
	for _, scope := range []string{"openid", ""} {
		if p, err := f.who(t, f.issued(t, func(c map[string]any) { c["scope"] = scope })); err != nil || len(p.Permissions()) > 0 {
			t.Errorf("a scope %q without any permission of ours: %v, %v", scope, p.Permissions(), err)
		}
	}
	f.register(t, "acme", "login", func(i *TokenIssuer) { i.Scopes = []Permission{EventsWrite, EventsRead} })
	if p, err = f.who(t, f.issued(t, func(c map[string]any) { c["scope"] = "events:read metrics:read" })); err != nil || !slices.Equal(p.Permissions(), []Permission{EventsRead}) {
		t.Errorf("both the issuer's scopes and the token's hold: %v, %v", p.Permissions(), err)
	}
}

func TestEveryClaimAndHeaderOfAForeignTokenCounts(t *testing.T) {
	f := newForeignBench(t)
	key, at := f.server.keys[0], map[jose.HeaderKey]any{"typ": "at+jwt"}
	if _, err := f.who(t, f.issued(t, asIs)); err != nil {
		t.Fatal(err)
	}
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	own := ecKey(t, "first") // an attacker's, by the same name
	ownPublic, err := own.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jose.JSONWebKey{Key: private, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}
	f.server.mu.Lock()
	f.server.keys = append(f.server.keys, rs)
	f.server.mu.Unlock()
	hmac := jose.JSONWebKey{Key: public, KeyID: "first", Algorithm: "HS256"}
	header := func(more ...any) map[jose.HeaderKey]any {
		h := maps.Clone(at)
		for i := 0; i < len(more); i += 2 {
			h[jose.HeaderKey(more[i].(string))] = more[i+1]
		}
		return h
	}
	with := func(change func(map[string]any)) string { return f.issued(t, change) }
	set := func(name string, v any) string { return with(func(c map[string]any) { c[name] = v }) }
	good := strings.Split(f.issued(t, asIs), ".")
	text := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	now := f.now
	for name, token := range map[string]string{
		"no type":                   signed(t, key, nil, f.claims(asIs)),
		"an ID token":               signed(t, key, map[jose.HeaderKey]any{"typ": "JWT"}, f.claims(asIs)),
		"a logout token":            signed(t, key, map[jose.HeaderKey]any{"typ": "logout+jwt"}, f.claims(asIs)),
		"an attacker's key":         signed(t, own, at, f.claims(asIs)),
		"with its key beside":       signed(t, own, header("jwk", json.RawMessage(ownPublic)), f.claims(asIs)),
		"with its key's address":    signed(t, own, header("jku", "http://127.0.0.1:1/keys"), f.claims(asIs)),
		"with a certificate":        signed(t, own, header("x5c", []string{"MIIB"}), f.claims(asIs)),
		"a certificate's address":   signed(t, own, header("x5u", "http://127.0.0.1:1/keys"), f.claims(asIs)),
		"the key with one's own":    signed(t, key, header("jwk", json.RawMessage(ownPublic)), f.claims(asIs)),
		"a critical extension":      signed(t, key, header("crit", []string{"x"}, "x", 1), f.claims(asIs)),
		"HMAC with the public key":  signed(t, hmac, at, f.claims(asIs)),
		"no algorithm":              text(`{"alg":"none","typ":"at+jwt","kid":"first"}`) + "." + good[1] + ".",
		"an algorithm not taken":    signed(t, rs, at, f.claims(asIs)),
		"another's algorithm":       text(`{"alg":"RS256","typ":"at+jwt","kid":"first"}`) + "." + good[1] + "." + good[2],
		"another payload":           good[0] + "." + text(`{}`) + "." + good[2],
		"an issuer nobody knows":    set("iss", "https://evil.example.com"),
		"the issuer with a slash":   set("iss", f.server.URL+"/"),
		"our own issuer":            set("iss", home),
		"another audience":          set("aud", "https://orders.example.com"),
		"another tenant's audience": set("aud", DefaultAudience("blue")),
		"no audience":               set("aud", nil),
		"an empty audience":         set("aud", []string{}),
		"too many audiences":        set("aud", []string{"1", "2", "3", "4", "5", "6", "7", "8", DefaultAudience("acme")}),
		"an audience of numbers":    set("aud", []int{1}),
		"expired":                   set("exp", now.Unix()),
		"never expires":             set("exp", nil),
		"expires in words":          set("exp", "9999999999"),
		"expires in milliseconds":   set("exp", now.Add(time.Hour).UnixMilli()),
		"not yet good":              set("nbf", now.Add(time.Minute).Unix()),
		"not before nothing":        with(func(c map[string]any) { c["nbf"] = json.RawMessage("null") }),
		"issued later":              set("iat", now.Add(time.Minute).Unix()),
		"issued never":              set("iat", nil),
		"nobody's":                  set("sub", nil),
		"of an empty subject":       set("sub", ""),
		"a subject of two lines":    set("sub", "a\nb"),
		"a long subject":            set("sub", strings.Repeat("a", 256)),
		"no client":                 set("client_id", nil),
		"no id":                     set("jti", nil),
		"a claim twice":             signed(t, key, at, twice(t, f.claims(asIs), `"iss":"https://evil.example.com"`)),
		"claims in capitals":        signed(t, key, at, bytes.ReplaceAll(plain(t, f.claims(asIs)), []byte(`"exp"`), []byte(`"EXP"`))),
		"a list":                    signed(t, key, at, []byte(`[]`)),
	} {
		f.restart()
		if p, err := f.who(t, token); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := f.who(t, f.issued(t, asIs)); err != nil {
		t.Error("and the good one still is", err)
	}
	f.register(t, "acme", "login", func(i *TokenIssuer) { i.Subject = "robot" })
	if _, err := f.who(t, f.issued(t, asIs)); err != nil {
		t.Error("the one subject", err)
	}
	if _, err := f.who(t, set("sub", "robot2")); !errors.Is(err, ErrBadCredentials) {
		t.Error("another subject than the one that is taken", err)
	}
}

func plain(t *testing.T, claims map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// twice is claims with a member more, which is there already.
func twice(t *testing.T, claims map[string]any, member string) []byte {
	t.Helper()
	b := plain(t, claims)
	return append(b[:len(b)-1], ","+member+"}"...)
}

func TestWhatCanBeRefusedWithoutKeysFetchesNone(t *testing.T) {
	f := newForeignBench(t)
	for name, change := range map[string]func(map[string]any){
		"expired":          func(c map[string]any) { c["exp"] = f.now.Unix() },
		"another audience": func(c map[string]any) { c["aud"] = "x" },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.example.com" },
	} {
		if _, err := f.who(t, f.issued(t, change)); !errors.Is(err, ErrBadCredentials) {
			t.Error(name, err)
		}
	}
	if n := f.server.fetched.Load(); n != 0 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

func TestNoTenantTakesTheTokensOfAnother(t *testing.T) {
	f := newForeignBench(t)
	// blue trusts the same issuer, as tenants of a large provider do.
	f.register(t, "blue", "theirs", func(*TokenIssuer) {})
	p, err := f.who(t, f.issued(t, asIs))
	if err != nil || p.Tenant != "acme" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = f.who(t, f.issued(t, func(c map[string]any) { c["aud"] = DefaultAudience("blue") })); err != nil || p.Tenant != "blue" || p.Subject != "issuer:theirs:robot" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := f.who(t, f.issued(t, func(c map[string]any) { c["aud"] = []string{DefaultAudience("blue"), DefaultAudience("acme")} })); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("a token for both is for neither: %+v, %v", p, err)
	}
	for _, audience := range []string{DefaultAudience("acme"), "https://pulse.example.com/acme", "acme", "urn:pulsestream:blue/", "https://pulse.example.com/notblue", "blue", ":blue\n", "urn:pulsestream:Blue"} {
		i := TokenIssuer{Issuer: f.server.URL, Audience: audience, Role: RoleViewer}
		if err := i.Check("blue"); err == nil {
			t.Errorf("blue may name the audience %q", audience)
		}
	}
	// Even one that has got into the catalog by another way leads nobody across.
	squat := TokenIssuer{Issuer: f.server.URL, Audience: "https://orders.example.com/acme", Role: RoleOwner, Algorithms: []jose.SignatureAlgorithm{jose.ES256}}
	if _, err := f.catalog.Put(t.Context(), store.Put{Tenant: "blue", Kind: store.KindTokenIssuer, Slug: "squat", Lookup: squat.Lookup(), Body: plain(t, map[string]any{"issuer": squat.Issuer,
		"audience": squat.Audience, "role": "owner", "algorithms": squat.Algorithms}), At: f.now}); err != nil {
		t.Fatal(err)
	}
	if p, err := f.who(t, f.issued(t, func(c map[string]any) { c["aud"] = squat.Audience })); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("%+v, %v", p, err)
	}
	// blue's own keys under acme's issuer open nothing of acme's.
	evil := newForeignServer(t)
	f.register(t, "blue", "mirror", func(i *TokenIssuer) { i.JWKSURL, i.Audience = evil.URL+"/keys", "urn:mirror:blue" })
	for audience, want := range map[string]tenant.ID{DefaultAudience("acme"): "", "urn:mirror:blue": "blue"} {
		p, err := f.who(t, signed(t, evil.keys[0], map[jose.HeaderKey]any{"typ": "at+jwt"}, f.claims(func(c map[string]any) { c["aud"] = audience })))
		if p.Tenant != want || want == "" && !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", audience, p, err)
		}
	}
}

func TestARemovedOrChangedIssuerEndsItsTokensAndConnectionsAtOnce(t *testing.T) {
	f := newForeignBench(t)
	token := f.issued(t, asIs)
	p, err := f.who(t, token)
	if err != nil || !f.ring.Holds(t.Context(), p) {
		t.Fatal(err)
	}
	f.register(t, "acme", "login", func(i *TokenIssuer) { i.Role = RoleViewer })
	if f.ring.Holds(t.Context(), p) {
		t.Error("a connection goes on with what its token might do once")
	}
	p, err = f.who(t, token)
	if err != nil || p.Role != RoleViewer || !f.ring.Holds(t.Context(), p) {
		t.Errorf("%+v, %v", p, err)
	}
	if err := f.catalog.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindTokenIssuer, Slug: "login"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.who(t, token); !errors.Is(err, ErrBadCredentials) {
		t.Error(err)
	}
	if f.ring.Holds(t.Context(), p) {
		t.Error("a connection goes on")
	}
}

func TestKeysOfAnIssuerRotate(t *testing.T) {
	f := newForeignBench(t)
	old := f.issued(t, asIs)
	if _, err := f.who(t, old); err != nil {
		t.Fatal(err)
	}
	f.server.rotate(t, "second")
	fresh := f.issued(t, asIs)
	if _, err := f.who(t, fresh); !errors.Is(err, ErrBadCredentials) {
		t.Error("the keys were fetched a moment ago", err)
	}
	f.pass(keysPause)
	if _, err := f.who(t, fresh); err != nil {
		t.Error("a key that is not known yet is asked for", err)
	}
	if _, err := f.who(t, old); !errors.Is(err, ErrBadCredentials) {
		t.Error("the old key is published no more", err)
	}
	// A key that is withdrawn ends without any token that names another.
	f.server.rotate(t, "third")
	f.pass(keysFresh)
	_, _ = f.who(t, fresh) // has the keys asked for; who asks does not wait
	f.settled(t)
	f.pass(cacheTTL)
	if _, err := f.who(t, fresh); !errors.Is(err, ErrBadCredentials) {
		t.Error("a key that was withdrawn", err)
	}
}

// settled waits until no fetch of keys is under way.
func (f *foreignBench) settled(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		f.foreign.keys.mu.Lock()
		defer f.foreign.keys.mu.Unlock()
		for _, e := range f.foreign.keys.known {
			if e.running != nil {
				return false
			}
		}
		return true
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.After(10 * time.Second); !ok(); {
		select {
		case <-end:
			t.Fatal("it has not come to that")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAFloodOfUnknownKeysIsNoFloodOfFetches(t *testing.T) {
	f := newForeignBench(t)
	if _, err := f.who(t, f.issued(t, asIs)); err != nil {
		t.Fatal(err)
	}
	key := ecKey(t, "")
	for i := range 200 {
		f.pass(250 * time.Millisecond)
		key.KeyID = fmt.Sprint("k", i)
		if _, err := f.who(t, signed(t, key, map[jose.HeaderKey]any{"typ": "at+jwt"}, f.claims(asIs))); !errors.Is(err, ErrBadCredentials) {
			t.Fatal(err)
		}
	}
	if n := f.server.fetched.Load(); n < 2 || n > 6 {
		t.Errorf("50 s of unknown keys made %d fetches, want one every %s", n, keysPause)
	}
}

func TestManyAtOnceWaitForOneFetchAndWhoHasTheKeyForNone(t *testing.T) {
	f := newForeignBench(t)
	good := f.issued(t, asIs)
	f.server.hold = make(chan struct{})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := f.who(t, good); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, func() bool { return f.server.fetched.Load() == 1 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := f.keys.Authenticate(gone, good+" ", f.clock()); err == nil {
		t.Error("who has gone is answered")
	}
	close(f.server.hold)
	all.Wait()
	if n := f.server.fetched.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	// The next fetch hangs, and nobody who has the key minds.
	f.server.hold = make(chan struct{})
	defer close(f.server.hold)
	f.pass(keysFresh)
	if _, err := f.who(t, f.issued(t, func(c map[string]any) { c["jti"] = "2" })); err != nil {
		t.Error(err)
	}
}

func TestAnIssuerThatIsAwayLeavesItsKeysGoodForAnHour(t *testing.T) {
	f := newForeignBench(t)
	long := func(c map[string]any) { c["exp"] = f.clock().Add(24 * time.Hour).Unix() }
	token := f.issued(t, long)
	if _, err := f.who(t, token); err != nil {
		t.Fatal(err)
	}
	f.server.away.Store(true)
	for range 5 {
		f.pass(11 * time.Minute)
		if _, err := f.who(t, token); err != nil {
			t.Error(err)
		}
		f.settled(t)
	}
	f.pass(6 * time.Minute)
	if _, err := f.who(t, token); !errors.Is(err, ErrIssuerAway) {
		t.Error("keys of an hour ago", err)
	}
	f.server.away.Store(false)
	if _, err := f.who(t, token); !errors.Is(err, ErrIssuerAway) {
		t.Error("it is asked again after a pause", err)
	}
	f.pass(keysPause)
	if _, err := f.who(t, token); err != nil {
		t.Error("it is back", err)
	}
	f.foreign.keys.mu.Lock() // what is logged is written under it
	defer f.foreign.keys.mu.Unlock()
	if log := f.log.String(); strings.Count(log, "cannot be fetched") != 1 || strings.Count(log, "fetched again") != 1 {
		t.Errorf("it was logged as\n%s", log)
	}
}

func TestKeysAreFoundByWhatAnIssuerPublishesOfItself(t *testing.T) {
	f := newForeignBench(t)
	for name, c := range map[string]struct {
		issuer, keys, lies string
		ok                 bool
	}{
		"OpenID Connect":           {f.server.URL, "", "", true},
		"RFC 8414 below a path":    {f.server.URL + "/tenants/one", "", "", true},
		"an address of the keys":   {"https://login.example.com", f.server.URL + "/keys", "", true},
		"metadata of another":      {f.server.URL, "", "https://login.example.com", false},
		"nothing is published":     {f.server.URL + "/tenants/two", "", "", false},
		"no keys at the address":   {f.server.URL, f.server.URL + "/nowhere", "", false},
		"metadata for the keys":    {f.server.URL, f.server.URL + "/.well-known/openid-configuration", "", false},
		"a machine that is silent": {"http://127.0.0.1:1", "", "", false},
	} {
		f.server.lies = c.lies
		err := f.foreign.Try(t.Context(), &TokenIssuer{Issuer: c.issuer, JWKSURL: c.keys, Algorithms: []jose.SignatureAlgorithm{jose.ES256}})
		if ok := err == nil; ok != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.server.lies = ""
	if err := f.foreign.Try(t.Context(), &TokenIssuer{Issuer: f.server.URL, Algorithms: []jose.SignatureAlgorithm{jose.RS256}}); err == nil {
		t.Error("keys for other algorithms than those that are taken are taken")
	}
}

func TestAnIssuerIsCheckedBeforeItIsSaved(t *testing.T) {
	good := TokenIssuer{Issuer: "https://login.example.com/", Role: RoleViewer}
	if err := good.Check("acme"); err != nil || good.Audience != "urn:pulsestream:acme" || len(good.Algorithms) != 2 {
		t.Errorf("%+v, %v", good, err)
	}
	for name, c := range map[string]struct {
		field  string
		change func(*TokenIssuer)
	}{
		"plain http":          {"issuer", func(i *TokenIssuer) { i.Issuer = "http://login.example.com" }},
		"no address":          {"issuer", func(i *TokenIssuer) { i.Issuer = "login" }},
		"a file":              {"issuer", func(i *TokenIssuer) { i.Issuer = "file:///etc/passwd" }},
		"a query":             {"issuer", func(i *TokenIssuer) { i.Issuer = "https://login.example.com?x=1" }},
		"a fragment":          {"issuer", func(i *TokenIssuer) { i.Issuer = "https://login.example.com#" }},
		"a user":              {"jwks_url", func(i *TokenIssuer) { i.JWKSURL = "https://a:b@login.example.com/keys" }},
		"keys by http":        {"jwks_url", func(i *TokenIssuer) { i.JWKSURL = "http://login.example.com/keys" }},
		"none":                {"algorithms", func(i *TokenIssuer) { i.Algorithms = []jose.SignatureAlgorithm{"none"} }},
		"HMAC":                {"algorithms", func(i *TokenIssuer) { i.Algorithms = []jose.SignatureAlgorithm{"ES256", "HS256"} }},
		"no role":             {"role", func(i *TokenIssuer) { i.Role = "" }},
		"a scope that is not": {"scopes", func(i *TokenIssuer) { i.Scopes = []Permission{"all"} }},
		"a long subject":      {"subject", func(i *TokenIssuer) { i.Subject = strings.Repeat("a", 256) }},
	} {
		i := TokenIssuer{Issuer: "https://login.example.com/", Role: RoleViewer}
		c.change(&i)
		var bad Invalid
		if err := i.Check("acme"); !errors.As(err, &bad) || len(bad) != 1 || bad[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeyThatNamesNoAlgorithmIsForTheFirstThatFitsAndIsTaken(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: &private.PublicKey, KeyID: "a"}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k}})
	if err != nil {
		t.Fatal(err)
	}
	for want, allowed := range map[jose.SignatureAlgorithm][]jose.SignatureAlgorithm{"PS384": {"ES256", "PS384", "RS256"}, "RS256": {"RS256", "PS256"}, "": {"ES256"}} {
		set, err := parseKeySet(b, allowed)
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := set.key("a"); ok != (want != "") || key.Algorithm != string(want) {
			t.Errorf("%v: %q", allowed, key.Algorithm)
		}
	}
}
