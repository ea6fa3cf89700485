package email

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/egress"
)

// FuzzConfigure: a configuration that is taken cannot put a line of its own into a mail or a dialogue with a server, and is taken again as it was stored.
func FuzzConfigure(f *testing.F) {
	for _, s := range []string{`{"to":["a@example.com"],"from":"b@example.com","host":"mail.example.com"}`, `{"to":"Ann <a@example.com>, b@example.com","from":"PulseStream <c@example.com>","host":"mail.example.com","username":"u","password":"p","tls":"implicit"}`,
		`{"to":"a@example.com\r\nBcc: x@example.com","from":"b@example.com","host":"mail.example.com"}`, `{"to":"\"a b\"@example.com","from":"b@[127.0.0.1]","host":"localhost"}`, `{"to":[],"from":"","host":"127.0.0.1","port":70000}`,
		`{"to":"müller@exämple.com","from":"b@example.com","host":"xn--exmple-cua.com"}`} {
		f.Add([]byte(s))
	}
	typ := New(Config{Guard: egress.New(nil)})
	f.Fuzz(func(t *testing.T, raw []byte) {
		stored, _, err := typ.Configure(raw, nil)
		if err != nil {
			return
		}
		var c config
		if err := json.Unmarshal(stored, &c); err != nil {
			t.Fatal(err)
		}
		if len(c.To) == 0 || len(c.To) > maxRecipients || c.Port < 1 || c.Port > 65535 {
			t.Fatalf("%s is taken as %s", raw, stored)
		}
		for _, s := range append([]string{c.From, c.Host, c.Username}, c.To...) {
			if strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("%s is taken, with %q", raw, s)
			}
		}
		for _, s := range append([]string{c.From}, c.To...) {
			if a, err := parseAddress(s); err != nil || strings.ContainsAny(a.Address, "\r\n\x00<>") {
				t.Fatalf("%s is taken, with the address %q: %+v, %v", raw, s, a, err)
			}
		}
		shown, err := typ.Redact(stored)
		if err != nil {
			t.Fatal(err)
		}
		var redacted config
		if err := json.Unmarshal(shown, &redacted); err != nil || redacted.Password != "" {
			t.Fatalf("%s is shown as %s, %v", stored, shown, err)
		}
		again, _, err := typ.Configure(shown, stored)
		if err != nil || string(again) != string(stored) {
			t.Fatalf("%s, saved again, is %s, %v", stored, again, err)
		}
	})
}
