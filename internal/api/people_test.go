package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser is somebody's, with the cookies that it was given.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func (i *instance) browser() *browser {
	i.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		i.t.Fatal(err)
	}
	return &browser{t: i.t, base: i.base, http: &http.Client{Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do sends a request as the server's own page does, and decodes the answer into out.
func (b *browser) do(method, path string, body, out any) answer {
	b.t.Helper()
	return b.as(http.Header{"Sec-Fetch-Site": {"same-origin"}}, method, path, body, out)
}

func (b *browser) as(header http.Header, method, path string, body, out any) answer {
	b.t.Helper()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		sent = bytes.NewReader(encoded)
	}
	if !strings.HasPrefix(path, "http") {
		path = b.base + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, path, sent)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if out != nil && len(text) > 0 {
		if err := json.Unmarshal(text, out); err != nil {
			b.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
		}
	}
	return answer{resp.StatusCode, resp.Header}
}

// page sends a request as a browser does that is on another site's page.
func (b *browser) page(method, at string, form url.Values) (answer, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, at, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(text)
}

// cookie is the value of the session's cookie.
func (b *browser) cookie() string {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == "pulsestream" {
			return c.Value
		}
	}
	return ""
}

type object map[string]any

func (o object) text(path ...string) string {
	for _, p := range path[:len(path)-1] {
		o, _ = o[p].(map[string]any)
	}
	s, _ := o[path[len(path)-1]].(string)
	return s
}

const goodPassword = "tapir veranda quilt 9"

// person is a member who was invited by whom and has signed in by the invitation.
func (i *instance) person(key, email, role string) (*browser, object) {
	i.t.Helper()
	var invited object
	resp, b := i.do("POST", "/v1/members", key, `{"email":"`+email+`","role":"`+role+`"}`)
	if err := json.Unmarshal(b, &invited); err != nil || resp.StatusCode != http.StatusCreated {
		i.t.Fatalf("invite: %d %s", resp.StatusCode, b)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		i.t.Error("an invitation may be cached")
	}
	who := i.browser()
	var session object
	if a := who.do("POST", "/v1/invitations/accept", object{"token": invited.text("invitation", "token"), "password": goodPassword}, &session); a.StatusCode != http.StatusOK {
		i.t.Fatalf("accept: %d %v", a.StatusCode, session)
	}
	return who, invited
}

func TestAMemberIsInvitedSignsInAndOut(t *testing.T) {
	i := start(t, setup{})
	ada, invited := i.person(givenKey, "ada@example.com", "owner")
	var me object
	if a := ada.do("GET", "/v1/session", nil, &me); a.StatusCode != http.StatusOK || me.text("subject") != "member:"+invited.text("id") || me.text("role") != "owner" || me.text("method") != "password" {
		t.Fatalf("%d %v", a.StatusCode, me)
	}
	first := ada.cookie()
	if a := ada.do("DELETE", "/v1/session", nil, nil); a.StatusCode != http.StatusNoContent || ada.cookie() != "" {
		t.Fatalf("sign out: %d, the cookie is %q", a.StatusCode, ada.cookie())
	}
	stale := i.browser()
	if a := stale.as(http.Header{"Cookie": {"pulsestream=" + first}}, "GET", "/v1/session", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the cookie of a session that has ended: %d", a.StatusCode)
	}
	var problem object
	for name, c := range map[string]object{
		"wrong password": {"email": "ada@example.com", "password": goodPassword + "x"},
		"wrong account":  {"email": "bob@example.com", "password": goodPassword},
		"wrong tenant":   {"tenant": "nobody", "email": "ada@example.com", "password": goodPassword},
	} {
		var p object
		a := ada.do("POST", "/v1/session", c, &p)
		delete(p, "request_id")
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
		if problem != nil && problem.text("detail") != p.text("detail") {
			t.Errorf("%s is told apart: %v, %v", name, problem, p)
		}
		problem = p
	}
	a := ada.do("POST", "/v1/session", object{"email": " Ada@Example.com ", "password": goodPassword}, &me)
	if set := a.Header.Get("Set-Cookie"); a.StatusCode != http.StatusOK || ada.cookie() == first || ada.cookie() == "" ||
		!strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Lax") || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("sign in: %d, %q", a.StatusCode, set)
	}
	second := ada.cookie()
	ada.do("POST", "/v1/session", object{"email": "ada@example.com", "password": goodPassword}, &me)
	if ada.cookie() == second {
		t.Error("a sign-in goes on with the session that was there before")
	}
	if a := stale.as(http.Header{"Cookie": {"pulsestream=" + second}}, "GET", "/v1/session", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the session before a sign-in goes on: %d", a.StatusCode)
	}
	if a := ada.do("POST", "/v1/invitations/accept", object{"token": invited.text("invitation", "token"), "password": goodPassword}, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("an invitation is good twice: %d", a.StatusCode)
	}
}

func TestOnlyTheServersOwnPagesAct(t *testing.T) {
	i := start(t, setup{})
	ada, _ := i.person(givenKey, "ada@example.com", "owner")
	key := object{"name": "stolen", "role": "viewer"}
	for name, h := range map[string]http.Header{
		"another site":             {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		"a sibling":                {"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://other." + i.Listener.Addr().String()}},
		"another site, old":        {"Origin": {"https://evil.example"}},
		"a page without an origin": {"Origin": {"null"}},
	} {
		if a := ada.as(h, "POST", "/v1/keys", key, nil); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s makes a key: %d", name, a.StatusCode)
		}
		if a := i.browser().as(h, "POST", "/v1/session", object{"email": "ada@example.com", "password": goodPassword}, nil); a.StatusCode != http.StatusForbidden || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s signs somebody in: %d", name, a.StatusCode)
		}
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		if a := ada.as(h, "GET", "/v1/live", nil, nil); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s opens a WebSocket: %d", name, a.StatusCode)
		}
	}
	if a := ada.do("POST", "/v1/keys", key, nil); a.StatusCode != http.StatusCreated {
		t.Errorf("the own page: %d", a.StatusCode)
	}
}

func TestACookieIsNoBearerTokenAndAKeyIsNoCookie(t *testing.T) {
	i := start(t, setup{})
	ada, _ := i.person(givenKey, "ada@example.com", "owner")
	if resp, _ := i.do("GET", "/v1/session", ada.cookie(), ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a cookie in the header: %d", resp.StatusCode)
	}
	if a := i.browser().as(http.Header{"Cookie": {"pulsestream=" + givenKey}}, "GET", "/v1/session", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a key in the cookie: %d", a.StatusCode)
	}
	if resp, b := i.do("GET", "/v1/session", givenKey, ""); resp.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(`"method":"key"`)) || !bytes.Contains(b, []byte(`"operator":true`)) {
		t.Errorf("a key: %d %s", resp.StatusCode, b)
	}
}

func TestOverTLSTheCookieIsOneThatOnlyTLSCanSet(t *testing.T) {
	i := start(t, setup{public: "https://pulse.example.com"})
	_, b := i.do("POST", "/v1/members", givenKey, `{"email":"ada@example.com","role":"owner"}`)
	var invited object
	if err := json.Unmarshal(b, &invited); err != nil {
		t.Fatal(err)
	}
	if got := invited.text("invitation", "url"); !strings.HasPrefix(got, "https://pulse.example.com/#/invitation/") {
		t.Errorf("the invitation's address is %q", got)
	}
	a := i.browser().as(http.Header{"Origin": {"https://pulse.example.com"}}, "POST", "/v1/invitations/accept", object{"token": invited.text("invitation", "token"), "password": goodPassword}, nil)
	set := a.Header.Get("Set-Cookie")
	if a.StatusCode != http.StatusOK || !strings.HasPrefix(set, "__Host-pulsestream=") || !strings.Contains(set, "; Secure") || !strings.Contains(set, "Path=/;") || strings.Contains(set, "Domain") {
		t.Fatalf("%d %q", a.StatusCode, set)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(set, "__Host-pulsestream="), ";")
	for cookie, status := range map[string]int{"__Host-pulsestream=" + value: http.StatusOK, "pulsestream=" + value: http.StatusUnauthorized} {
		if a := i.browser().as(http.Header{"Cookie": {cookie}}, "GET", "/v1/session", nil, nil); a.StatusCode != status {
			t.Errorf("%.20s…: %d", cookie, a.StatusCode)
		}
	}
}

func TestWhoIsDisabledOrRemovedIsOutAndARoleIsTheOneOfNow(t *testing.T) {
	i := start(t, setup{})
	i.person(givenKey, "owner@example.com", "owner")
	ada, invited := i.person(givenKey, "ada@example.com", "editor")
	path := "/v1/members/" + invited.text("id")
	put := func(body string) {
		t.Helper()
		if resp, b := i.do("PUT", path, givenKey, body); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, b)
		}
	}
	put(`{"role":"viewer"}`)
	var me object
	if ada.do("GET", "/v1/session", nil, &me); me.text("role") != "viewer" {
		t.Errorf("the role is %v", me)
	}
	put(`{"state":"disabled"}`)
	if a := ada.do("GET", "/v1/session", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("disabled: %d", a.StatusCode)
	}
	if a := ada.do("POST", "/v1/session", object{"email": "ada@example.com", "password": goodPassword}, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a disabled member signs in: %d", a.StatusCode)
	}
	put(`{"state":"active"}`)
	if a := ada.do("POST", "/v1/session", object{"email": "ada@example.com", "password": goodPassword}, nil); a.StatusCode != http.StatusOK {
		t.Errorf("active again: %d", a.StatusCode)
	}
	if resp, _ := i.do("DELETE", path, givenKey, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("remove: %d", resp.StatusCode)
	}
	if a := ada.do("GET", "/v1/session", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("removed: %d", a.StatusCode)
	}
}

func TestNobodyMakesOrChangesAMightierMemberAndTheLastOwnerStays(t *testing.T) {
	i := start(t, setup{})
	owner, o := i.person(givenKey, "owner@example.com", "owner")
	admin, _ := i.person(givenKey, "admin@example.com", "admin")
	of := "/v1/members/" + o.text("id")
	for _, c := range []struct {
		who          *browser
		method, path string
		body         any
		status       int
	}{
		{admin, "POST", "/v1/members", object{"email": "x@example.com", "role": "owner"}, http.StatusForbidden},
		{admin, "PUT", of, object{"role": "viewer"}, http.StatusForbidden},
		{admin, "PUT", of, object{"email": "mine@example.com"}, http.StatusForbidden},
		{admin, "DELETE", of, nil, http.StatusForbidden},
		{admin, "POST", of + "/invitation", object{}, http.StatusForbidden},
		{owner, "DELETE", of, nil, http.StatusConflict},
		{owner, "PUT", of, object{"role": "admin"}, http.StatusConflict},
		{owner, "PUT", of, object{"state": "disabled"}, http.StatusConflict},
		{owner, "POST", "/v1/members", object{"email": "ADMIN@example.com", "role": "viewer"}, http.StatusConflict},
		{owner, "POST", "/v1/members", object{"email": "no address", "role": "viewer"}, http.StatusUnprocessableEntity},
		{owner, "GET", of, nil, http.StatusOK},
		{owner, "GET", "/v1/members/nobody", nil, http.StatusNotFound},
	} {
		var p object
		if a := c.who.do(c.method, c.path, c.body, &p); a.StatusCode != c.status {
			t.Errorf("%s %s: %d %v, want %d", c.method, c.path, a.StatusCode, p, c.status)
		}
	}
	var members struct{ Data []object }
	owner.do("GET", "/v1/members", nil, &members)
	for _, m := range members.Data {
		if _, there := m["secrets"]; there || m["password"] != true {
			t.Errorf("%v", m)
		}
	}
}
