package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func withProviders() setup { return setup{allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}} }

// provide sets an identity provider of a tenant up.
func (i *instance) provide(key, slug, issuer string, fields object) {
	i.t.Helper()
	body := object{"type": "oidc", "issuer": issuer, "client_id": "pulse", "client_secret": clientSecret, "roles": object{"staff": "viewer", "ops": "admin"}}
	for k, v := range fields {
		body[k] = v
	}
	text, err := json.Marshal(body)
	if err != nil {
		i.t.Fatal(err)
	}
	if resp, b := i.do("PUT", "/v1/identity-providers/"+slug, key, string(text)); resp.StatusCode > 201 || strings.Contains(string(b), clientSecret) {
		i.t.Fatalf("%d %s", resp.StatusCode, b)
	}
}

// toProvider has a browser begin, and returns where it is sent.
func (b *browser) toProvider(path string) string {
	b.t.Helper()
	a := b.as(nil, "GET", path, nil, nil)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Cache-Control") != "no-store" {
		b.t.Fatalf("%s: %d", path, a.StatusCode)
	}
	return a.Header.Get("Location")
}

// back has a browser come back from a provider, and returns where it ends.
func (b *browser) back(path string, answer url.Values) string {
	b.t.Helper()
	a := b.as(http.Header{"Sec-Fetch-Site": {"cross-site"}}, "GET", path+"/callback?"+answer.Encode(), nil, nil)
	if a.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s: %d", path, a.StatusCode)
	}
	return a.Header.Get("Location")
}

// enter is the whole way in.
func (b *browser) enter(p *idp, path string) string {
	b.t.Helper()
	asked, code := p.authorize(b.toProvider(path))
	return b.back(path, url.Values{"state": {asked.Get("state")}, "code": {code}})
}

func (b *browser) session() object {
	b.t.Helper()
	var me object
	if a := b.do("GET", "/v1/session", nil, &me); a.StatusCode != http.StatusOK {
		return nil
	}
	return me
}

const way = "/auth/default/corp"

func TestAMemberComesFromAnIdentityProvider(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	i.provide(givenKey, "corp", p.URL, nil)
	var ways struct{ Providers []object }
	ada := i.browser()
	ada.do("GET", "/v1/sign-in", nil, &ways)
	if len(ways.Providers) != 1 || ways.Providers[0].text("url") != way || ways.Providers[0].text("type") != "oidc" {
		t.Fatalf("%v", ways)
	}
	if ada.do("GET", "/v1/sign-in?tenant=nobody", nil, &ways); len(ways.Providers) != 0 {
		t.Errorf("a tenant that does not exist: %v", ways)
	}
	if to := ada.enter(p, way); to != "/" {
		t.Fatalf("ends at %s", to)
	}
	me := ada.session()
	if me.text("name") != "Ada" || me.text("role") != "viewer" || me.text("method") != "oidc" {
		t.Fatalf("%v", me)
	}
	p.claims = func(_ url.Values, c map[string]any) { c["groups"], c["name"] = []string{"staff", "ops"}, "Ada L." }
	again := i.browser()
	again.enter(p, way)
	if now := again.session(); now.text("subject") != me.text("subject") || now.text("role") != "admin" || now.text("name") != "Ada L." {
		t.Errorf("the second time: %v", now)
	}
	if now := ada.session(); now.text("role") != "admin" {
		t.Errorf("the first session has the role %s", now.text("role"))
	}
	p.claims = func(_ url.Values, c map[string]any) { c["groups"] = []string{"guests"} }
	if to := i.browser().enter(p, way); to != "/?sign_in_error=no_role" {
		t.Errorf("without a group that has a role: %s", to)
	}
	if to := i.browser().back(way, url.Values{"state": {"x"}, "error": {"access_denied"}}); to != "/?sign_in_error=expired" {
		t.Errorf("an answer that nobody has asked for: %s", to)
	}
	bob := i.browser()
	asked, _ := p.authorize(bob.toProvider(way))
	if to := bob.back(way, url.Values{"state": {asked.Get("state")}, "error": {"access_denied"}, "error_description": {"//evil"}}); to != "/?sign_in_error=denied" {
		t.Errorf("denied: %s", to)
	}
	if resp, _ := i.do("DELETE", "/v1/identity-providers/corp", givenKey, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("remove: %d", resp.StatusCode)
	}
	if ada.session() != nil {
		t.Error("a session of a provider that was removed goes on")
	}
}

func TestAHostileIdentityProviderGetsNobodyIn(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	i.provide(givenKey, "corp", p.URL, nil)
	set := func(name string, v any) func(url.Values, map[string]any) {
		return func(_ url.Values, c map[string]any) { c[name] = v }
	}
	for name, c := range map[string]struct {
		claims func(url.Values, map[string]any)
		sign   func([]byte) string
	}{
		"another issuer":                  {claims: set("iss", "https://accounts.example.com")},
		"a mixed-up nonce":                {claims: set("nonce", "another")},
		"no nonce":                        {claims: set("nonce", "")},
		"a token for another audience":    {claims: set("aud", "somebody")},
		"an audience beside ours":         {claims: set("aud", []string{"pulse", "somebody"})},
		"given to another":                {claims: set("azp", "somebody")},
		"expired":                         {claims: set("exp", time.Now().Add(-time.Minute).Unix())},
		"of the future":                   {claims: set("iat", time.Now().Add(time.Hour).Unix())},
		"not yet":                         {claims: set("nbf", time.Now().Add(time.Hour).Unix())},
		"nobody":                          {claims: set("sub", "")},
		"a subject without end":           {claims: set("sub", strings.Repeat("x", 300))},
		"not signed":                      {sign: unsigned},
		"the public key as shared secret": {sign: p.signHS256},
		"a key of a stranger":             {sign: p.signStranger},
		"no token":                        {sign: func([]byte) string { return "" }},
		"an access token's hash of other": {claims: set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
	} {
		p.mu.Lock()
		p.claims, p.sign = c.claims, c.sign
		p.mu.Unlock()
		b := i.browser()
		if to := b.enter(p, way); to != "/?sign_in_error=failed" || b.cookie() != "" {
			t.Errorf("%s: ends at %s, with the cookie %q", name, to, b.cookie())
		}
	}
	p.claims, p.sign = nil, nil
	if to := i.browser().enter(p, way); to != "/" {
		t.Errorf("the honest way: %s", to)
	}
}

func TestWhatIsOfOneBrowserAndOneSignInIsGoodForNoOther(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	i.provide(givenKey, "corp", p.URL, nil)
	i.provide(givenKey, "other", p.URL, nil)
	p.lax = true // the provider helps whoever comes
	ada, eve := i.browser(), i.browser()
	asked, code := p.authorize(ada.toProvider(way))
	answer := url.Values{"state": {asked.Get("state")}, "code": {code}}
	if to := eve.back(way, answer); to != "/?sign_in_error=expired" {
		t.Errorf("in a browser that has not begun: %s", to)
	}
	p.authorize(eve.toProvider(way))
	if to := eve.back(way, answer); to != "/?sign_in_error=expired" {
		t.Errorf("the state of another browser: %s", to)
	}
	mine, _ := p.authorize(eve.toProvider(way))
	if to := eve.back(way, url.Values{"state": {mine.Get("state")}, "code": {code}}); to != "/?sign_in_error=failed" {
		t.Errorf("another's code with one's own state: %s", to)
	}
	if to := ada.back("/auth/default/other", answer); to != "/?sign_in_error=expired" {
		t.Errorf("the answer to another provider: %s", to)
	}
	asked, code = p.authorize(ada.toProvider(way))
	for name, twice := range map[string]url.Values{"state": {"state": {asked.Get("state"), "x"}, "code": {code}}, "iss": {"state": {asked.Get("state")}, "code": {code}, "iss": {"https://evil.example"}}} {
		ada.toProvider(way)
		if to := ada.back(way, twice); !strings.Contains(to, "sign_in_error") {
			t.Errorf("%s: %s", name, to)
		}
	}
	asked, code = p.authorize(ada.toProvider(way))
	answer = url.Values{"state": {asked.Get("state")}, "code": {code}}
	if to := ada.back(way, answer); to != "/" {
		t.Fatalf("the honest way: %s", to)
	}
	if to := ada.back(way, answer); to != "/?sign_in_error=expired" {
		t.Errorf("a replayed answer: %s", to)
	}
	if eve.cookie() != "" {
		t.Error("eve has a session")
	}
}

func TestAnEmailIdentifiesNobody(t *testing.T) {
	i, p, q := start(t, withProviders()), newIDP(t), newIDP(t)
	_, local := i.person(givenKey, "ada@example.com", "owner")
	i.provide(givenKey, "corp", p.URL, nil)
	i.provide(givenKey, "other", q.URL, nil)
	subjects := map[string]string{"member:" + local.text("id"): "the password"}
	for name, c := range map[string]struct {
		p    *idp
		path string
		sub  string
		ok   bool
	}{
		"verified":              {p, way, "1", true},
		"not verified":          {p, way, "2", false},
		"another of the issuer": {p, way, "3", true},
		"the other issuer":      {q, "/auth/default/other", "1", true},
	} {
		c.p.claims = func(_ url.Values, claims map[string]any) { claims["sub"], claims["email_verified"] = c.sub, c.ok }
		b := i.browser()
		if to := b.enter(c.p, c.path); to != "/" {
			t.Fatalf("%s: %s", name, to)
		}
		me := b.session()
		if other, taken := subjects[me.text("subject")]; taken || me.text("role") != "viewer" {
			t.Errorf("%s is %s: %v", name, other, me)
		}
		subjects[me.text("subject")] = name
		var own object
		if b.do("GET", "/v1/members/me", nil, &own); (own.text("email") != "") != c.ok {
			t.Errorf("%s: the e-mail is %q", name, own.text("email"))
		}
	}
	i.provide(givenKey, "corp", p.URL, object{"require_verified_email": true})
	p.claims = func(_ url.Values, c map[string]any) { c["email_verified"] = false }
	if to := i.browser().enter(p, way); to != "/?sign_in_error=unverified" {
		t.Errorf("not verified: %s", to)
	}
}

func TestAProviderIsOneTenantsAndTheSamePersonElsewhereIsAnother(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	resp, b := i.do("POST", "/v1/admin/tenants", givenKey, `{"id":"acme"}`)
	var made object
	if err := json.Unmarshal(b, &made); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	acme := made.text("key", "secret")
	i.provide(givenKey, "corp", p.URL, nil)
	if to := i.browser().toProvider("/auth/acme/corp"); to != "/?sign_in_error=unknown" {
		t.Errorf("another tenant's provider: %s", to)
	}
	i.provide(acme, "corp", p.URL, object{"roles": object{"staff": "owner"}})
	here, there := i.browser(), i.browser()
	// An answer of the one tenant's attempt is none to the other's, though issuer and client are the same.
	asked, code := p.authorize(here.toProvider(way))
	if to := here.back("/auth/acme/corp", url.Values{"state": {asked.Get("state")}, "code": {code}}); to != "/?sign_in_error=expired" {
		t.Errorf("into another tenant: %s", to)
	}
	if to := here.enter(p, way); to != "/" {
		t.Fatal(to)
	}
	if to := there.enter(p, "/auth/acme/corp"); to != "/" {
		t.Fatal(to)
	}
	if h, a := here.session(), there.session(); h.text("tenant") != "default" || h.text("role") != "viewer" || a.text("tenant") != "acme" || a.text("role") != "owner" {
		t.Errorf("%v, %v", h, a)
	}
	own := strings.TrimPrefix(here.session().text("subject"), "member:")
	// The member's id follows from the identity, so it may be the same word in both; what is behind it is not.
	there.do("PUT", "/v1/members/"+own, object{"name": "taken over"}, nil)
	if here.session().text("name") != "Ada" {
		t.Error("a member was changed from another tenant")
	}
	var sessions struct{ Data []object }
	there.do("GET", "/v1/sessions?all=true", nil, &sessions)
	if len(sessions.Data) != 1 || sessions.Data[0]["current"] != true {
		t.Errorf("%v", sessions.Data)
	}
	if a := there.do("DELETE", "/v1/sessions/"+here.session().text("id"), nil, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant's session: %d", a.StatusCode)
	}
}

func TestNobodyBecomesMightierByAProviderOfTheirOwn(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	owner, _ := i.person(givenKey, "owner@example.com", "owner")
	admin, _ := i.person(givenKey, "admin@example.com", "admin")
	provider := func(fields object) object {
		body := object{"type": "oidc", "issuer": p.URL, "client_id": "pulse", "client_secret": clientSecret, "roles": object{"staff": "viewer"}}
		for k, v := range fields {
			body[k] = v
		}
		return body
	}
	mine := "/v1/identity-providers/mine"
	for name, c := range map[string]object{
		"a group of owners":  {"roles": object{"staff": "owner"}},
		"owners without any": {"default_role": "owner"},
	} {
		if a := admin.do("PUT", mine, provider(c), nil); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	if a := owner.do("PUT", mine, provider(object{"roles": object{"staff": "owner"}}), nil); a.StatusCode != http.StatusCreated {
		t.Fatal(a.StatusCode)
	}
	if a := admin.do("PUT", mine, provider(nil), nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("an admin changes a provider of owners: %d", a.StatusCode)
	}
	if to := i.browser().enter(p, "/auth/default/mine"); to != "/" {
		t.Fatal(to)
	}
	// The provider gives no owners any more, but one has come by it: whoever sets it up could come as them.
	if a := owner.do("PUT", mine, provider(object{"roles": object{"ops": "viewer"}}), nil); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode)
	}
	if a := admin.do("PUT", mine, provider(nil), nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("an admin changes a provider that an owner has come by: %d", a.StatusCode)
	}
	if a := admin.do("DELETE", mine, nil, nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("an admin removes a provider that an owner has come by: %d", a.StatusCode)
	}
	if a := owner.do("DELETE", mine, nil, nil); a.StatusCode != http.StatusNoContent {
		t.Errorf("remove: %d", a.StatusCode)
	}
	if a := admin.do("PUT", mine, provider(nil), nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("an admin makes a provider in the place of one that an owner has come by: %d", a.StatusCode)
	}
}

func TestAProviderThatCannotWorkIsNotSaved(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	for name, c := range map[string]struct {
		fields object
		says   string
	}{
		"http":                {object{"issuer": "http://login.example.com"}, "https"},
		"no address":          {object{"issuer": "login"}, "https://HOST"},
		"a query":             {object{"issuer": p.URL + "/?x=y"}, "https://HOST"},
		"nobody there":        {object{"issuer": "http://127.0.0.1:1"}, "cannot be had"},
		"no provider":         {object{"issuer": p.URL + "/else"}, "cannot be had"},
		"another issuer":      {object{"issuer": p.URL + "/"}, "cannot be had"},
		"no client":           {object{"client_id": ""}, "registered"},
		"no role for anybody": {object{"roles": object{}}, "nobody could come in"},
		"a role of fancy":     {object{"roles": object{"staff": "king"}}, "roles"},
	} {
		body := object{"type": "oidc", "issuer": p.URL, "client_id": "pulse", "roles": object{"staff": "viewer"}}
		for k, v := range c.fields {
			body[k] = v
		}
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, b := i.do("PUT", "/v1/identity-providers/corp", givenKey, string(text))
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(b), c.says) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
	for name, change := range map[string]func(map[string]any){
		"a page that runs code": func(m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"keys in the clear":     func(m map[string]any) { m["jwks_uri"] = "http://keys.example.com/" },
		"tokens in the clear":   func(m map[string]any) { m["token_endpoint"] = "http://token.example.com/" },
	} {
		q := newIDP(t)
		q.metadata = change
		resp, b := i.do("PUT", "/v1/identity-providers/corp", givenKey, fmt.Sprintf(`{"type":"oidc","issuer":%q,"client_id":"pulse","default_role":"viewer"}`, q.URL))
		if resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
	guarded := start(t, setup{})
	resp, b := guarded.do("PUT", "/v1/identity-providers/corp", givenKey, fmt.Sprintf(`{"type":"oidc","issuer":%q,"client_id":"pulse","default_role":"viewer"}`, p.URL))
	if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(b), "--egress-allow") {
		t.Errorf("an address that is not to be reached: %d %s", resp.StatusCode, b)
	}
}

func TestWhatTheTokenLacksIsAskedForAndOnlyAboutTheSamePerson(t *testing.T) {
	i, p := start(t, withProviders()), newIDP(t)
	p.metadata = func(m map[string]any) { m["userinfo_endpoint"] = p.URL + "/userinfo" }
	p.claims = func(_ url.Values, c map[string]any) { delete(c, "groups"); delete(c, "email"); delete(c, "name") }
	p.userinfo = map[string]any{"sub": "1001", "name": "Ada", "email": "ada@example.com", "email_verified": "true", "realm": object{"groups": []string{"ops"}}}
	i.provide(givenKey, "corp", p.URL, object{"groups_claim": "realm.groups"})
	ada := i.browser()
	if to := ada.enter(p, way); to != "/" || ada.session().text("role") != "admin" || ada.session().text("name") != "Ada" {
		t.Errorf("ends at %s: %v", to, ada.session())
	}
	p.userinfo["sub"] = "1002"
	if to := i.browser().enter(p, way); to != "/?sign_in_error=failed" {
		t.Errorf("an answer about somebody else: %s", to)
	}
}

func TestAnIdentityProviderThatIsAwayIsAskedSeldomAndNobodyMayAskForever(t *testing.T) {
	s, now := withProviders(), time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return now }
	i, p := start(t, s), newIDP(t)
	i.provide(givenKey, "corp", p.URL, nil)
	for range 100 { // who is sent on has cost nothing
		if to := i.browser().toProvider(way); !strings.HasPrefix(to, p.URL) {
			t.Fatal(to)
		}
	}
	now = now.Add(2 * time.Hour) // the metadata is too old
	var asked atomic.Int32
	p.mu.Lock()
	p.metadata = func(m map[string]any) {
		asked.Add(1)
		m["issuer"] = "https://elsewhere.example"
	}
	p.mu.Unlock()
	last := ""
	for range 70 {
		last = i.browser().toProvider(way)
	}
	if n := asked.Load(); n != 1 || last != "/?sign_in_error=limited" {
		t.Errorf("the provider was asked %d times, and at last: %s", n, last)
	}
	p.mu.Lock()
	p.metadata = nil
	p.mu.Unlock()
	now = now.Add(11 * time.Second)
	if to := i.browser().toProvider(way); !strings.HasPrefix(to, p.URL) {
		t.Errorf("when it is back: %s", to)
	}
}
