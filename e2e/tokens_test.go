package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func TestAnAccessTokenIsGoodInThePlaceOfAKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	anybody := client.New(s.url, "")
	app, err := s.MakeKey(t.Context(), "app", "editor")
	if err != nil {
		t.Fatal(err)
	}
	token, err := anybody.AccessToken(t.Context(), app.Secret, "")
	if err != nil || !strings.EqualFold(token.Type, "Bearer") || token.ExpiresIn != 3600 || !strings.Contains(token.Scope, "metrics:write") {
		t.Fatalf("%+v, %v", token, err)
	}
	withToken := client.New(s.url, token.Token)
	if receipt, err := withToken.Send(t.Context(), client.Event{ID: "1", Type: "order"}); err != nil || receipt.Accepted != 1 {
		t.Fatal(receipt, err)
	}
	eventually(t, 10*time.Second, func() error {
		_, err := withToken.Event(t.Context(), "app", "1") // the source is the key's name, whatever was shown
		return err
	})
	if live, err := withToken.Live(t.Context()); err != nil {
		t.Error("a WebSocket with a token", err)
	} else {
		_ = live.Close()
	}

	narrow, err := anybody.AccessToken(t.Context(), app.Secret, "events:write")
	if err != nil {
		t.Fatal(err)
	}
	held := client.New(s.url, narrow.Token)
	if _, err := held.Send(t.Context(), client.Event{Type: "order"}); err != nil {
		t.Error(err)
	}
	_, _, err = held.Events(t.Context(), client.EventQuery{})
	wantStatus(t, "reading with a token for writing", err, http.StatusForbidden)
	_, err = anybody.AccessToken(t.Context(), app.Secret, "keys:write")
	wantStatus(t, "more than the key has", err, http.StatusBadRequest)

	if err := s.RevokeKey(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = withToken.Events(t.Context(), client.EventQuery{})
	wantStatus(t, "a token whose key was revoked", err, http.StatusUnauthorized)
	_, err = anybody.AccessToken(t.Context(), app.Secret, "")
	wantStatus(t, "a token for a revoked key", err, http.StatusUnauthorized)
}

func TestTheTokenEndpointAnswersAsOAuthSays(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	anybody := client.New(s.url, "")
	id, secret, _ := strings.Cut(strings.TrimPrefix(administratorKey, "ps_"), "_")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	type refusal struct {
		Error string `json:"error"`
	}
	ask := func(form url.Values, authorization string) (*client.Response, refusal) {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		if authorization != "" {
			h.Set("Authorization", authorization)
		}
		r, err := anybody.Exchange(t.Context(), http.MethodPost, "/oauth/token", h, []byte(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		var e refusal
		if err := json.Unmarshal(r.Body, &e); err != nil {
			t.Errorf("%s: %v", r.Body, err)
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("the answer may be stored: %v", r.Header)
		}
		return r, e
	}
	grant := func(more ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(more); i += 2 {
			v.Add(more[i], more[i+1])
		}
		return v
	}
	for name, c := range map[string]struct {
		form          url.Values
		authorization string
		status        int
		code          string
	}{
		"in the form":         {grant("client_id", id, "client_secret", secret), "", 200, ""},
		"by Basic":            {grant(), basic, 200, ""},
		"both":                {grant("client_id", id, "client_secret", secret), basic, 400, "invalid_request"},
		"two secrets":         {grant("client_id", id, "client_secret", secret, "client_secret", "x"), "", 400, "invalid_request"},
		"a wrong secret":      {grant("client_id", id, "client_secret", secret+"x"), "", 401, "invalid_client"},
		"no client":           {grant(), "", 401, "invalid_client"},
		"another grant":       {url.Values{"grant_type": {"password"}}, basic, 400, "unsupported_grant_type"},
		"no grant":            {url.Values{}, basic, 400, "invalid_request"},
		"a scope that is not": {grant("scope", "everything"), basic, 400, "invalid_scope"},
	} {
		r, e := ask(c.form, c.authorization)
		if r.Status != c.status || e.Error != c.code {
			t.Errorf("%s: %d %s, want %d %q", name, r.Status, r.Body, c.status, c.code)
		}
		if c.status == http.StatusUnauthorized && r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", name)
		}
	}
}

func TestAnybodyCanVerifyATokenByWhatIsPublished(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	anybody := client.New(s.url, "")
	var server struct {
		Issuer, TokenEndpoint, JWKS string
	}
	var raw map[string]any
	if err := anybody.Do(t.Context(), http.MethodGet, "/.well-known/oauth-authorization-server", nil, nil, &raw); err != nil {
		t.Fatal(err)
	}
	server.Issuer, _ = raw["issuer"].(string)
	server.TokenEndpoint, _ = raw["token_endpoint"].(string)
	server.JWKS, _ = raw["jwks_uri"].(string)
	if server.Issuer != s.url || server.TokenEndpoint != s.url+"/oauth/token" || server.JWKS != s.url+"/.well-known/jwks.json" {
		t.Fatalf("%v", raw)
	}
	token, err := anybody.AccessToken(t.Context(), administratorKey, "events:read")
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Keys []struct{ Kty, Crv, X, Y, Kid, Alg, Use, D string }
	}
	if err := anybody.Do(t.Context(), http.MethodGet, strings.TrimPrefix(server.JWKS, s.url), nil, nil, &keys); err != nil || len(keys.Keys) == 0 {
		t.Fatal(keys, err)
	}
	part := strings.Split(token.Token, ".")
	bytesOf := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Sub, Aud, Scope, Jti string
		ClientID                  string `json:"client_id"`
		Exp, Iat                  int64
	}
	if err := json.Unmarshal(bytesOf(part[0]), &header); err != nil || header.Alg != "ES256" || header.Typ != "at+jwt" {
		t.Fatalf("%+v, %v", header, err)
	}
	if err := json.Unmarshal(bytesOf(part[1]), &claims); err != nil || claims.Iss != server.Issuer || claims.Aud != server.Issuer || claims.ClientID != "endtoend" ||
		claims.Scope != "events:read" || claims.Sub == "" || claims.Jti == "" || claims.Exp-claims.Iat != 3600 {
		t.Fatalf("%+v, %v", claims, err)
	}
	signature, sum := bytesOf(part[2]), sha256.Sum256([]byte(part[0]+"."+part[1]))
	for _, k := range keys.Keys {
		if k.D != "" || k.Use != "sig" || k.Alg != "ES256" || k.Kty != "EC" || k.Crv != "P-256" {
			t.Errorf("%+v is published", k)
		}
		if k.Kid != header.Kid {
			continue
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, bytesOf(k.X), bytesOf(k.Y)))
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			t.Error("the published key did not sign it")
		}
		return
	}
	t.Errorf("the key %s is not published: %+v", header.Kid, keys)
}

func TestAKeyIsReplacedWithoutAGap(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	soon := time.Now().Add(-time.Minute)
	_, err := s.MakeKeyOf(t.Context(), client.NewKey{Name: "late", Role: "viewer", ExpiresAt: &soon})
	wantStatus(t, "a key that has expired already", err, http.StatusUnprocessableEntity)
	_, err = s.MakeKeyOf(t.Context(), client.NewKey{Name: "odd", Role: "viewer", Scopes: []string{"everything"}})
	wantStatus(t, "a scope that does not exist", err, http.StatusUnprocessableEntity)
	old, err := s.MakeKeyOf(t.Context(), client.NewKey{Name: "app", Role: "editor", Scopes: []string{"events:write"}})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := s.RotateKey(t.Context(), old.ID, time.Hour)
	if err != nil || fresh.ID == old.ID || len(fresh.Scopes) != 1 || fresh.Name != "app" {
		t.Fatalf("%+v, %v", fresh, err)
	}
	for name, key := range map[string]string{"old": old.Secret, "new": fresh.Secret} {
		c := client.New(s.url, key)
		if _, err := c.Send(t.Context(), client.Event{Type: "order"}); err != nil {
			t.Errorf("the %s key: %v", name, err)
		}
		_, _, err := c.Events(t.Context(), client.EventQuery{})
		wantStatus(t, "outside the "+name+" key's scope", err, http.StatusForbidden)
	}
	if _, err := s.RotateKey(t.Context(), fresh.ID, 0); err != nil {
		t.Fatal(err)
	}
	_, err = client.New(s.url, fresh.Secret).Send(t.Context(), client.Event{Type: "order"})
	wantStatus(t, "a key that was replaced without an overlap", err, http.StatusUnauthorized)
}
