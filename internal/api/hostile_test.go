package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// idp is an identity provider that does as it likes. What is not set is honest.
type idp struct {
	*httptest.Server
	t       *testing.T
	private *rsa.PrivateKey

	mu       sync.Mutex
	codes    map[string]url.Values // of the request that each was given for
	lax      bool                  // takes a code more than once, and without its verifier
	claims   func(asked url.Values, claims map[string]any)
	sign     func(payload []byte) string
	metadata func(map[string]any)
	userinfo map[string]any
	asked    int // exchanges of codes
}

const clientSecret = "a client's secret"

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, private: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.metadata != nil {
			p.metadata(m)
		}
		p.answer(w, m)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answer(w, p.userinfo)
	})
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

// authorize is what the provider does when a browser comes to it: a code for what was asked.
func (p *idp) authorize(to string) (asked url.Values, code string) {
	p.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		p.t.Fatal(err)
	}
	asked = u.Query()
	if !strings.HasPrefix(to, p.URL+"/authorize?") || asked.Get("response_type") != "code" || asked.Get("code_challenge_method") != "S256" ||
		len(asked.Get("code_challenge")) != 43 || len(asked.Get("state")) < 32 || len(asked.Get("nonce")) < 32 || !strings.Contains(asked.Get("scope"), "openid") {
		p.t.Fatalf("sent to %s", to)
	}
	code = rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = asked
	return asked, code
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if err := r.ParseForm(); err != nil {
		p.t.Error(err)
	}
	user, secret, _ := r.BasicAuth()
	asked, ok := p.codes[r.PostForm.Get("code")]
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	proven := base64.RawURLEncoding.EncodeToString(sum[:]) == asked.Get("code_challenge")
	if !ok || !p.lax && (user != "pulse" || secret != url.QueryEscape(clientSecret) || !proven || r.PostForm.Get("redirect_uri") != asked.Get("redirect_uri")) {
		w.WriteHeader(http.StatusBadRequest)
		p.answer(w, map[string]string{"error": "invalid_grant"})
		return
	}
	if !p.lax {
		delete(p.codes, r.PostForm.Get("code"))
	}
	now := time.Now().Unix()
	claims := map[string]any{"iss": p.URL, "sub": "1001", "aud": "pulse", "exp": now + 300, "iat": now, "nonce": asked.Get("nonce"),
		"email": "ada@example.com", "email_verified": true, "name": "Ada", "groups": []string{"staff"}}
	if p.claims != nil {
		p.claims(asked, claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	sign := p.signRS256
	if p.sign != nil {
		sign = p.sign
	}
	p.answer(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": sign(payload)})
}

func (p *idp) signRS256(payload []byte) string { return p.signed(jose.RS256, p.private, payload) }

func (p *idp) signed(alg jose.SignatureAlgorithm, key any, payload []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		p.t.Error(err)
		return ""
	}
	signed, err := s.Sign(payload)
	if err != nil {
		p.t.Error(err)
		return ""
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		p.t.Error(err)
	}
	return text
}

// signHS256 takes the published key for a shared secret.
func (p *idp) signHS256(payload []byte) string {
	der, err := x509.MarshalPKIXPublicKey(&p.private.PublicKey)
	if err != nil {
		p.t.Error(err)
	}
	return p.signed(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), payload)
}

func unsigned(payload []byte) string {
	b64 := base64.RawURLEncoding
	return b64.EncodeToString([]byte(`{"alg":"none","kid":"k"}`)) + "." + b64.EncodeToString(payload) + "."
}

// signStranger signs by a key that is not published, under the name of one that is.
func (p *idp) signStranger(payload []byte) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Error(err)
	}
	return p.signed(jose.RS256, key, payload)
}
