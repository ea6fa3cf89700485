package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/xml"
	"html"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/crewjam/saml"
)

// samlIDP is an identity provider of SAML, by a library's own: it signs in whoever comes as its session.
type samlIDP struct {
	*httptest.Server
	t       *testing.T
	library *saml.IdentityProvider
	session saml.Session
	known   map[string]*saml.EntityDescriptor
}

func (p *samlIDP) GetServiceProvider(_ *http.Request, id string) (*saml.EntityDescriptor, error) {
	if m := p.known[id]; m != nil {
		return m, nil
	}
	return nil, os.ErrNotExist
}

func (p *samlIDP) GetSession(http.ResponseWriter, *http.Request, *saml.IdpAuthnRequest) *saml.Session {
	s := p.session
	return &s
}

func newSAMLIDP(t *testing.T) *samlIDP {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := &samlIDP{t: t, known: map[string]*saml.EntityDescriptor{}, session: saml.Session{ID: "s", CreateTime: time.Now(), ExpireTime: time.Now().Add(time.Hour), Index: "1",
		NameID: "u-1", NameIDFormat: string(saml.PersistentNameIDFormat), UserEmail: "ada@corp.example", UserCommonName: "Ada"}}
	p.groups("staff")
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	at := func(path string) url.URL { u, _ := url.Parse(p.URL + path); return *u }
	p.library = &saml.IdentityProvider{Signer: key, Certificate: cert, MetadataURL: at("/metadata"), SSOURL: at("/sso"), ServiceProviderProvider: p, SessionProvider: p, Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	mux.HandleFunc("/metadata", p.library.ServeMetadata)
	mux.HandleFunc("/sso", p.library.ServeSSO)
	return p
}

// groups sets those of who signs in.
func (p *samlIDP) groups(names ...string) {
	a := saml.Attribute{Name: "groups"}
	for _, n := range names {
		a.Values = append(a.Values, saml.AttributeValue{Type: "xs:string", Value: n})
	}
	p.session.CustomAttributes = []saml.Attribute{a}
}

// meet tells the identity provider who the service is, by the service's own metadata.
func (p *samlIDP) meet(i *instance, path string) {
	p.t.Helper()
	resp, b := i.do("GET", path+"/metadata", "", "")
	var about saml.EntityDescriptor
	if err := xml.Unmarshal(b, &about); err != nil || resp.Header.Get("Content-Type") != "application/samlmetadata+xml" {
		p.t.Fatalf("%d %s %v", resp.StatusCode, b, err)
	}
	p.known[about.EntityID] = &about
}

var samlField = regexp.MustCompile(`name="(SAMLResponse|RelayState)" value="([^"]*)"`)

// assert is what a browser that was sent to it brings back.
func (p *samlIDP) assert(to string) url.Values {
	p.t.Helper()
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get(to)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%d %s %v", resp.StatusCode, page, err)
	}
	out := url.Values{}
	for _, m := range samlField.FindAllStringSubmatch(string(page), -1) {
		out.Set(m[1], html.UnescapeString(m[2]))
	}
	return out
}

// post has a browser bring a form to the assertion consumer service, sent by the identity provider's page, and returns where it ends.
func (b *browser) post(path string, form url.Values) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path+"/acs", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://login.example.com")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s: %d", path, resp.StatusCode)
	}
	return resp.Header.Get("Location")
}

func TestAMemberComesBySAML(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	saved := i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	if saved.text("redirect_uri") != i.base+way+"/acs" || saved.text("entity_id") != i.base+way+"/metadata" || saved.text("groups_attribute") != "groups" {
		t.Errorf("%v", saved)
	}
	p.meet(i, way)
	ada := i.browser()
	var ways struct{ Providers []object }
	if ada.do("GET", "/v1/sign-in", nil, &ways); len(ways.Providers) != 1 || ways.Providers[0].text("type") != "saml" || ways.Providers[0].text("url") != way {
		t.Fatalf("%v", ways)
	}
	form := p.assert(ada.toProvider(way))
	if to := i.browser().post(way, form); to != "/?sign_in_error=expired" {
		t.Errorf("in a browser that has not begun: %s", to)
	}
	stranger := i.browser()
	stranger.toProvider(way)
	if to := stranger.post(way, form); to != "/?sign_in_error=failed" || stranger.session() != nil {
		t.Errorf("in a browser that has begun itself: %s", to)
	}
	if to := ada.post(way, form); to != "/" {
		t.Fatalf("ends at %s", to)
	}
	me := ada.session()
	if me.text("name") != "Ada" || me.text("role") != "viewer" || me.text("method") != "saml" {
		t.Fatalf("%v", me)
	}
	if to := ada.post(way, form); to != "/?sign_in_error=expired" {
		t.Errorf("the attempt is over: %s", to)
	}
	p.groups("ops")
	again := i.browser()
	if to := again.post(way, p.assert(again.toProvider(way))); to != "/" || again.session().text("subject") != me.text("subject") || again.session().text("role") != "admin" {
		t.Errorf("%s, %v", to, again.session())
	}
	p.groups("guests")
	guest := i.browser()
	if to := guest.post(way, p.assert(guest.toProvider(way))); to != "/?sign_in_error=no_role" {
		t.Errorf("without a group that has a role: %s", to)
	}
	if to := guest.post("/auth/default/nobody", form); to != "/?sign_in_error=unknown" {
		t.Errorf("a provider that does not exist: %s", to)
	}
	if a := guest.as(nil, "GET", "/auth/default/nobody/metadata", nil, nil); a.StatusCode != http.StatusOK {
		t.Errorf("whether a provider exists is told: %d", a.StatusCode)
	}
}

func (i *instance) provideSAML(slug string, fields object) object {
	i.t.Helper()
	body := object{"type": "saml", "roles": object{"staff": "viewer", "ops": "admin"}}
	for k, v := range fields {
		body[k] = v
	}
	var out object
	if status := i.json("PUT", "/v1/identity-providers/"+slug, givenKey, body, &out); status > 201 {
		i.t.Fatalf("%d %v", status, out)
	}
	return out
}

func TestAnAssertionIsTakenOnceByAllProcesses(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	p.meet(i, way)
	ada := i.browser()
	form := p.assert(ada.toProvider(way))
	at, err := url.Parse(i.base)
	if err != nil {
		t.Fatal(err)
	}
	stolen := ada.http.Jar.Cookies(at)
	if to := ada.post(way, form); to != "/" {
		t.Fatal(to)
	}
	thief := i.browser() // who has got hold of the cookie and of the form
	thief.http.Jar.SetCookies(at, stolen)
	if to := thief.post(way, form); to != "/?sign_in_error=failed" || thief.session() != nil {
		t.Error(to)
	}
}

func TestOverTLSTheCookieOfASAMLAttemptComesWithTheForm(t *testing.T) {
	s := withProviders()
	s.public = "https://pulse.example.com"
	i, p := start(t, s), newSAMLIDP(t)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	set := i.browser().as(nil, "GET", way, nil, nil).Header.Get("Set-Cookie")
	if !strings.HasPrefix(set, "__Host-pulsestream-signin=") || !strings.Contains(set, "SameSite=None") || !strings.Contains(set, "; Secure") || !strings.Contains(set, "; HttpOnly") {
		t.Errorf("%q", set)
	}
}

func TestASAMLProviderThatCannotWorkIsNotSaved(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	good, err := xml.Marshal(p.library.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	i.provideSAML("written", object{"metadata_xml": string(good)})
	for name, c := range map[string]struct {
		fields object
		field  string
	}{
		"no metadata":          {object{}, "metadata_url"},
		"both":                 {object{"metadata_url": p.URL + "/metadata", "metadata_xml": string(good)}, "metadata_url"},
		"nothing there":        {object{"metadata_url": p.URL + "/nothing"}, "metadata_url"},
		"plain http":           {object{"metadata_url": "http://login.example.com/metadata"}, "metadata_url"},
		"no metadata there":    {object{"metadata_url": i.base + "/healthz"}, "metadata_url"},
		"no XML":               {object{"metadata_xml": "x"}, "metadata_xml"},
		"an entity":            {object{"metadata_xml": `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + string(good)}, "metadata_xml"},
		"a client id":          {object{"metadata_xml": string(good), "client_id": "x"}, "type"},
		"no roles for anybody": {object{"metadata_xml": string(good), "roles": object{}}, "roles"},
	} {
		body := object{"type": "saml", "roles": object{"staff": "viewer"}}
		for k, v := range c.fields {
			body[k] = v
		}
		var problem struct {
			Errors []object `json:"errors"`
		}
		if status := i.json("PUT", "/v1/identity-providers/bad", givenKey, body, &problem); status != http.StatusUnprocessableEntity || len(problem.Errors) != 1 || problem.Errors[0].text("location") != "body."+c.field {
			t.Errorf("%s: %d %v", name, status, problem)
		}
	}
}
