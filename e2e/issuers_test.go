package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/client"
)

// tokenServer is a company's own issuer of access tokens.
type tokenServer struct {
	*httptest.Server
	key jose.JSONWebKey
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &tokenServer{key: jose.JSONWebKey{Key: private, KeyID: "a", Algorithm: "ES256", Use: "sig"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.key.Public()}})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) token(t *testing.T, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{"iss": s.URL, "aud": audience, "sub": "robot", "client_id": "robot", "jti": rand.Text(), "iat": now, "exp": now + 600})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATenantsOwnIssuerOpensThatTenantUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	s, login := newServer(t, allowLoopback), newTokenServer(t)
	saved, err := s.PutTokenIssuer(t.Context(), client.TokenIssuer{Slug: "login", Issuer: login.URL, Role: "editor"})
	if err != nil || saved.Audience != "urn:pulsestream:default" || len(saved.Algorithms) == 0 {
		t.Fatalf("%+v, %v", saved, err)
	}
	robot := client.New(s.url, login.token(t, saved.Audience))
	if _, err := robot.Send(t.Context(), client.Event{ID: "1", Type: "order"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error { _, err := robot.Event(t.Context(), "login", "1"); return err })
	live, err := robot.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Close() }()
	if _, err := robot.TokenIssuers(t.Context()); err == nil {
		t.Error("an editor's token sees who is trusted")
	}
	_, err = client.New(s.url, login.token(t, "urn:pulsestream:other")).Send(t.Context(), client.Event{Type: "order"})
	wantStatus(t, "a token for another tenant", err, http.StatusUnauthorized)

	for name, c := range map[string]struct {
		issuer client.TokenIssuer
		status int
	}{
		"another tenant's audience": {client.TokenIssuer{Issuer: login.URL, Role: "viewer", Audience: "urn:pulsestream:other"}, http.StatusUnprocessableEntity},
		"keys that are not there":   {client.TokenIssuer{Issuer: login.URL, JWKSURL: login.URL + "/nothing", Role: "viewer"}, http.StatusUnprocessableEntity},
		"plain http":                {client.TokenIssuer{Issuer: "http://login.example.com", Role: "viewer"}, http.StatusUnprocessableEntity},
		"the same one twice":        {client.TokenIssuer{Issuer: login.URL, Role: "viewer"}, http.StatusConflict},
	} {
		c.issuer.Slug = "second"
		_, err := s.PutTokenIssuer(t.Context(), c.issuer)
		wantStatus(t, name, err, c.status)
	}
	admin, err := s.MakeKey(t.Context(), "admin", "admin")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.New(s.url, admin.Secret).PutTokenIssuer(t.Context(), client.TokenIssuer{Slug: "login", Issuer: login.URL, Role: "owner"})
	wantStatus(t, "an admin who would make owners", err, http.StatusForbidden)

	if err := s.DeleteTokenIssuer(t.Context(), "login"); err != nil {
		t.Fatal(err)
	}
	_, err = robot.Send(t.Context(), client.Event{Type: "order"})
	wantStatus(t, "a token of an issuer that was removed", err, http.StatusUnauthorized)
	ends, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for err = nil; err == nil; {
		_, err = live.Next(ends)
	}
	if ends.Err() != nil {
		t.Error("its WebSocket goes on")
	}
}
