package webhook

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/egress"
)

// FuzzConfigure: a configuration that is taken is an address in the open, has a secret, and is taken again as it was stored; shown, it has no secret.
func FuzzConfigure(f *testing.F) {
	for _, s := range []string{`{"url":"https://example.com/hook"}`, `{"url":"https://example.com","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}`, `{"url":"http://127.0.0.1/"}`, `{"url":"http://[::ffff:10.0.0.1]:80"}`,
		`{"url":"http://user@example.com"}`, `{"url":"http://[fe80::1%25eth0]/"}`, `{"url":"https://example.com:99999"}`, `{"URL":"https://example.com"}`, `null`, `{"url":"https:example.com"}`} {
		f.Add([]byte(s))
	}
	guard := egress.New(nil)
	typ := New(Config{Guard: guard})
	f.Fuzz(func(t *testing.T, entered []byte) {
		stored, _, err := typ.Configure(entered, nil)
		if err != nil {
			return
		}
		var c config
		if err := json.Unmarshal(stored, &c); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("%s is taken as %q, %v", entered, c.URL, err)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && guard.Check(a) != nil {
			t.Fatalf("%s is taken, and %s must not be called", entered, a)
		}
		if _, err := decodeSecret(c.Secret); err != nil {
			t.Fatalf("%s has the secret %q: %v", entered, c.Secret, err)
		}
		shown, err := typ.Redact(stored)
		if err != nil || strings.Contains(string(shown), c.Secret) {
			t.Fatalf("%s is shown as %s, %v", stored, shown, err)
		}
		again, made, err := typ.Configure(shown, stored) // what was shown, saved again, changes nothing
		if err != nil || len(made) > 0 || string(again) != string(stored) {
			t.Fatalf("%s, saved again, is %s, %v", stored, again, err)
		}
	})
}
