package source

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strings"
	"testing"
	"time"
)

// mac signs independently of the engine, so that a test doesn't prove the engine by itself.
func mac(h func() hash.Hash, key, text string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hexMAC(h func() hash.Hash, key, text string) string {
	return hex.EncodeToString(mac(h, key, text))
}

func base64MAC(h func() hash.Hash, key, text string) string {
	return base64.StdEncoding.EncodeToString(mac(h, key, text))
}

// headers makes a header of names and values in turn.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
	"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands" +
	"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// vector is one genuine delivery.
type vector struct {
	vendor   string
	scheme   Scheme
	secret   string
	delivery Delivery
	at       time.Time // when it was sent; zero when the scheme has no time
	from     string    // where the vector is published
}

// vectors has a genuine delivery of every vendor whose way of signing can be written as a Scheme; most of them are not in
// the catalogue (yet).
func vectors() []vector {
	const tolerance = 5 * time.Minute
	shipped := NewCatalogue()
	hub, _ := shipped.Lookup("github")
	stripe, _ := shipped.Lookup("stripe")
	standard := func(prefix string) Scheme {
		return Scheme{
			Header: prefix + "signature", Form: Versioned, Accept: []string{"v1"}, Signed: "{id}.{timestamp}.{body}",
			Algorithm: HMACSHA256, Encoding: Base64, Key: Key{Prefix: "whsec_", Base64: true},
			ID: Field{Header: prefix + "id"}, Timestamp: Field{Header: prefix + "timestamp"}, Past: tolerance, Future: tolerance,
		}
	}
	dated := func(header, signature, timestamp, signed string) Scheme {
		return Scheme{
			Header: header, Form: Pairs, Accept: []string{signature}, Signed: signed, Algorithm: HMACSHA256, Encoding: Hex,
			Timestamp: Field{Param: timestamp}, Past: tolerance, Future: tolerance,
		}
	}
	paddle := dated("Paddle-Signature", "h1", "ts", "{timestamp}:{body}")
	paddle.Separator = ";"
	body := func(header string, a Algorithm, e Encoding) Scheme {
		return Scheme{Header: header, Form: Plain, Signed: "{body}", Algorithm: a, Encoding: e}
	}
	square := body("x-square-hmacsha256-signature", HMACSHA256, Base64)
	square.Signed = "{url}{body}"
	return []vector{
		{
			"GitHub", hub.Scheme, "It's a Secret to Everybody",
			Delivery{Body: []byte("Hello, World!"), Header: headers("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")},
			time.Time{}, "docs.github.com, Validating webhook deliveries",
		},
		{
			"Slack", Scheme{
				Header: "X-Slack-Signature", Form: Prefixed, Accept: []string{"v0="}, Signed: "v0:{timestamp}:{body}", Algorithm: HMACSHA256, Encoding: Hex,
				Timestamp: Field{Header: "X-Slack-Request-Timestamp"}, Past: tolerance, Future: tolerance,
			}, "8f742231b10e8888abcd99yyyzzz85a5",
			Delivery{Body: []byte(slackBody), Header: headers("X-Slack-Request-Timestamp", "1531420618",
				"X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")},
			time.Unix(1531420618, 0), "docs.slack.dev, Verifying requests from Slack",
		},
		{
			"Standard Webhooks", standard("webhook-"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			Delivery{Body: []byte(`{"test": 2432232314}`), Header: headers("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330",
				"webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")},
			time.Unix(1614265330, 0), "standard-webhooks libraries/go/webhook_test.go",
		},
		{
			"Svix", standard("svix-"), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			Delivery{Body: []byte(`{"test": 2432232314}`), Header: headers("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "svix-timestamp", "1614265330",
				"svix-signature", "v1a,bm90IG91cnM= v2,g0hM9SsE v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")},
			time.Unix(1614265330, 0), "svix go/webhook_test.go",
		},
		{
			"Stripe", stripe.Scheme, "whsec_test_secret",
			Delivery{Body: []byte(`{"id":"evt_test_webhook","object":"event"}`),
				Header: headers("Stripe-Signature", "t=12345,v1=e7df43adcf699b3839cf5fe20429cae4712141aee3660a1671b34f77a1be9444,v0=00")},
			time.Unix(12345, 0), "Stripe publishes none; computed with OpenSSL",
		},
		{
			"Shopify", body("X-Shopify-Hmac-SHA256", HMACSHA256, Base64), "shop-secret",
			Delivery{Body: []byte(`{"id":1}`), Header: headers("X-Shopify-Hmac-SHA256", "plW8VGqq0nDMIEhDqaNNW99asdUCy7EIqLZVcQwtAZ0=")},
			time.Time{}, "Shopify publishes none; computed with OpenSSL",
		},
		{
			"Square", square, "signature-key",
			Delivery{Body: []byte(`{"a":1}`), URL: "https://example.com/v1/hooks/x", Header: headers("x-square-hmacsha256-signature",
				base64MAC(sha256.New, "signature-key", `https://example.com/v1/hooks/x{"a":1}`))},
			time.Time{}, "",
		},
		{
			"Paddle", paddle, "pdl_key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("Paddle-Signature", "ts=1700000000;h1="+hexMAC(sha256.New, "pdl_key", `1700000000:{"a":1}`))},
			time.Unix(1700000000, 0), "",
		},
		{
			"ElevenLabs", dated("ElevenLabs-Signature", "v0", "t", "{timestamp}.{body}"), "wsec_key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("ElevenLabs-Signature", "t=1700000000,v0="+hexMAC(sha256.New, "wsec_key", `1700000000.{"a":1}`))},
			time.Unix(1700000000, 0), "",
		},
		{
			"Webflow", Scheme{
				Header: "x-webflow-signature", Form: Plain, Signed: "{timestamp}:{body}", Algorithm: HMACSHA256, Encoding: Hex,
				Timestamp: Field{Header: "x-webflow-timestamp"}, Unit: time.Millisecond, Past: tolerance, Future: tolerance,
			}, "key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("x-webflow-timestamp", "1700000000123",
				"x-webflow-signature", hexMAC(sha256.New, "key", `1700000000123:{"a":1}`))},
			time.UnixMilli(1700000000123), "",
		},
		{
			"Vercel", body("x-vercel-signature", HMACSHA1, Hex), "key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("x-vercel-signature", hexMAC(sha1.New, "key", `{"a":1}`))}, time.Time{}, "",
		},
		{
			"WooCommerce", body("X-WC-Webhook-Signature", HMACSHA256, Base64), "key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("X-WC-Webhook-Signature", base64MAC(sha256.New, "key", `{"a":1}`))}, time.Time{}, "",
		},
		{
			"one with SHA-512", body("X-Signature", HMACSHA512, Hex), "key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("X-Signature", hexMAC(sha512.New, "key", `{"a":1}`))}, time.Time{}, "",
		},
		{
			"one with SHA-384", body("X-Signature", HMACSHA384, Base64), "key",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("X-Signature", base64MAC(sha512.New384, "key", `{"a":1}`))}, time.Time{}, "",
		},
		{
			"GitLab", Scheme{Header: "X-Gitlab-Token", Form: Plain, Algorithm: Token}, "a token",
			Delivery{Body: []byte(`{"a":1}`), Header: headers("X-Gitlab-Token", "a token")}, time.Time{}, "",
		},
	}
}

func (v *vector) now() time.Time {
	if v.at.IsZero() {
		return time.Unix(1700000000, 0)
	}
	return v.at
}

func TestEveryVendorsGenuineDeliveryIsVerified(t *testing.T) {
	for _, v := range vectors() {
		if err := v.scheme.Verify(v.delivery, []string{v.secret}, v.now()); err != nil {
			t.Errorf("%s: %v", v.vendor, err)
		}
	}
}

func TestNoVendorsDeliveryIsVerifiedOnceAnythingIsChanged(t *testing.T) {
	for _, v := range vectors() {
		original := v.delivery.Header.Get(v.scheme.Header)
		signed := func(header string) Delivery {
			d := v.delivery
			d.Header = v.delivery.Header.Clone()
			d.Header.Set(v.scheme.Header, header)
			return d
		}
		refused := func(what string, d Delivery, secret string, now time.Time, codes ...string) {
			t.Helper()
			var r *Refusal
			err := v.scheme.Verify(d, []string{secret}, now)
			if !errors.As(err, &r) || !errors.Is(err, ErrUnverified) || len(codes) > 0 && !strings.Contains(strings.Join(codes, " "), r.Code) {
				t.Errorf("%s, %s: %v, want a refusal with one of %q", v.vendor, what, err, codes)
			}
		}
		refused("another secret", v.delivery, "whsec_c29tZXRoaW5nIGVsc2U=", v.now(), CodeBadSignature)
		refused("no secret", v.delivery, "", v.now(), CodeNoSecret)
		refused("a secret that is only its prefix", v.delivery, v.scheme.Key.Prefix, v.now(), CodeNoSecret)
		refused("no signature", Delivery{Body: v.delivery.Body, Header: http.Header{}}, v.secret, v.now(), CodeMissingSignature)
		refused("an empty signature", signed(""), v.secret, v.now(), CodeMissingSignature)
		refused("a blank signature", signed("  "), v.secret, v.now(), CodeMissingSignature)
		refused("only the prefix", signed("sha256="), v.secret, v.now())
		refused("a truncated signature", signed(original[:len(original)/2]), v.secret, v.now(), CodeBadSignature, CodeMalformedSignature)
		refused("upper case", signed(strings.ToUpper(original)), v.secret, v.now(), CodeBadSignature, CodeMalformedSignature)
		if v.scheme.Form != Versioned { // a list that spaces separate
			refused("a space in front", signed(" "+original), v.secret, v.now(), CodeBadSignature, CodeMalformedSignature)
		}
		twice := signed(original)
		twice.Header.Add(v.scheme.Header, original)
		refused("the header twice", twice, v.secret, v.now(), CodeMalformedSignature)
		if v.scheme.Algorithm != Token {
			longer, empty := v.delivery, v.delivery
			longer.Body = append([]byte(nil), append(v.delivery.Body, ' ')...)
			empty.Body = nil
			refused("a longer body", longer, v.secret, v.now(), CodeBadSignature)
			refused("an empty body", empty, v.secret, v.now(), CodeBadSignature)
		}
		if !v.at.IsZero() {
			refused("long ago", v.delivery, v.secret, v.at.Add(v.scheme.Past+time.Second), CodeStaleTimestamp)
			refused("ahead of time", v.delivery, v.secret, v.at.Add(-v.scheme.Future-time.Second), CodeFutureTimestamp)
		}
		for _, f := range []Field{v.scheme.Timestamp, v.scheme.ID} {
			if f.Header == "" {
				continue
			}
			for _, text := range []string{"", "1", "-5", "9999999999999999999999", "0x10", "1614265330 "} {
				d := signed(original)
				d.Header.Set(f.Header, text)
				refused(f.Header+" "+text, d, v.secret, v.now())
			}
		}
	}
}

func TestToleranceIncludesItsBounds(t *testing.T) {
	for _, v := range vectors() {
		if v.at.IsZero() {
			continue
		}
		for _, now := range []time.Time{v.at.Add(v.scheme.Past), v.at.Add(-v.scheme.Future)} {
			if err := v.scheme.Verify(v.delivery, []string{v.secret}, now); err != nil {
				t.Errorf("%s at %s: %v", v.vendor, now, err)
			}
		}
	}
}

func TestEitherSecretOfARotationVerifies(t *testing.T) {
	for _, v := range vectors() {
		for _, secrets := range [][]string{{v.secret, "bmV3"}, {"b2xk", v.secret}, {"", v.secret}} {
			if err := v.scheme.Verify(v.delivery, secrets, v.now()); err != nil {
				t.Errorf("%s with %d secrets: %v", v.vendor, len(secrets), err)
			}
		}
		for _, secrets := range [][]string{nil, {}, {"", ""}, {"bmV3", "b2xk"}} {
			if err := v.scheme.Verify(v.delivery, secrets, v.now()); !errors.Is(err, ErrUnverified) {
				t.Errorf("%s with secrets %q: %v", v.vendor, secrets, err)
			}
		}
	}
}

func TestStripeSignatureHeader(t *testing.T) {
	const body, secret = `{"id":"evt_1"}`, "whsec_a"
	good := hexMAC(sha256.New, secret, "1700000000."+body)
	rolled := hexMAC(sha256.New, "whsec_b", "1700000000."+body)
	v, _ := NewCatalogue().Lookup("stripe")
	for header, want := range map[string]string{
		"t=1700000000,v1=" + good:                              "",
		"v1=" + good + ",t=1700000000":                         "",
		"t=1700000000,v1=" + rolled + ",v1=" + good:            "",
		"t=1700000000,v1=unreadable,v1=" + good + ",v0=x":      "",
		"t=1700000000,v1=" + good + ",v2=" + rolled:            "",
		"t=1700000000,v0=" + good:                              CodeBadSignature,
		"t=1700000000,V1=" + good:                              CodeBadSignature,
		"t=1700000000,v1=" + rolled:                            CodeBadSignature,
		"t=1700000000,v1=":                                     CodeBadSignature,
		"t=1700000000":                                         CodeBadSignature,
		"t=1700000001,v1=" + good:                              CodeBadSignature,
		"t=01700000000,v1=" + good:                             CodeBadSignature,
		"t=,v1=" + good:                                        CodeMalformedSignature,
		"v1=" + good:                                           CodeMalformedSignature,
		"t=soon,v1=" + good:                                    CodeMalformedSignature,
		"t=-1700000000,v1=" + good:                             CodeMalformedSignature,
		"t=1700000000.5,v1=" + good:                            CodeMalformedSignature,
		"t=1700000000,t=1700000000,v1=" + good:                 CodeMalformedSignature,
		"t=99999999999999999999,v1=" + good:                    CodeMalformedSignature,
		"t=1700000000,v1=" + good + ",":                        CodeMalformedSignature,
		"t=1700000000 v1=" + good:                              CodeBadSignature,
		good:                                                   CodeMalformedSignature,
		"sha256=" + good:                                       CodeBadSignature,
		"t=1700000000,v1=" + strings.ToUpper(good):             CodeBadSignature,
		"t=1700000000,v1=" + good[:63]:                         CodeBadSignature,
		"t=1700000000,v1=" + good + "0":                        CodeBadSignature,
		"t=1700000000,v1=" + base64MAC(sha256.New, secret, ""): CodeBadSignature,
	} {
		err := v.Scheme.Verify(Delivery{Header: headers("Stripe-Signature", header), Body: []byte(body)}, []string{secret}, time.Unix(1700000010, 0))
		if got := codeOf(err); got != want {
			t.Errorf("%s: %q (%v), want %q", header, got, err, want)
		}
	}
}

// codeOf is the code of a refusal, "" for no error, and the text of any other error.
func codeOf(err error) string {
	var r *Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.Code
	}
	return err.Error()
}

func TestOnlyWhoKnowsTheSecretIsToldAboutTheClock(t *testing.T) {
	v, _ := NewCatalogue().Lookup("stripe")
	d := Delivery{Header: headers("Stripe-Signature", "t=1,v1="+strings.Repeat("0", 64)), Body: []byte("{}")}
	if got := codeOf(v.Scheme.Verify(d, []string{"whsec_a"}, time.Unix(1700000000, 0))); got != CodeBadSignature {
		t.Error(got)
	}
}

func TestASchemeThatSaysTooLittleRefusesEverything(t *testing.T) {
	good := vectors()[4] // Stripe: it has all the parts
	for what, change := range map[string]func(*Scheme){
		"no header":              func(s *Scheme) { s.Header = "" },
		"no form":                func(s *Scheme) { s.Form = "" },
		"accepts nothing":        func(s *Scheme) { s.Accept = nil },
		"plain that accepts":     func(s *Scheme) { s.Form = Plain },
		"no algorithm":           func(s *Scheme) { s.Algorithm = "" },
		"unknown algorithm":      func(s *Scheme) { s.Algorithm = "md5" },
		"token that signs":       func(s *Scheme) { s.Algorithm = Token },
		"no encoding":            func(s *Scheme) { s.Encoding = "" },
		"nothing signed":         func(s *Scheme) { s.Signed = "" },
		"body not signed":        func(s *Scheme) { s.Signed = "{timestamp}" },
		"unknown placeholder":    func(s *Scheme) { s.Signed = "{timestamp}.{body}.{host}" },
		"open brace":             func(s *Scheme) { s.Signed = "{timestamp}.{body}.{" },
		"timestamp not signed":   func(s *Scheme) { s.Signed = "{body}" },
		"timestamp not found":    func(s *Scheme) { s.Timestamp = Field{} },
		"timestamp in the body":  func(s *Scheme) { s.Timestamp = Field{Path: "created"} },
		"no bound of the past":   func(s *Scheme) { s.Past = 0 },
		"no bound of the future": func(s *Scheme) { s.Future = 0 },
		"id not found":           func(s *Scheme) { s.Signed = "{id}.{timestamp}.{body}" },
		"key without pairs":      func(s *Scheme) { s.Form = Versioned },
		"odd unit":               func(s *Scheme) { s.Unit = time.Minute },
	} {
		s := good.scheme
		change(&s)
		err := s.Verify(good.delivery, []string{good.secret}, good.now())
		if s.Check() == nil || err == nil || errors.Is(err, ErrUnverified) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSecretsAreCheckedBeforeTheyAreKept(t *testing.T) {
	raw, coded := Scheme{}, Scheme{Key: Key{Prefix: "whsec_", Base64: true}}
	for _, c := range []struct {
		scheme  Scheme
		secrets []string
		ok      bool
	}{
		{raw, []string{"It's a Secret to Everybody"}, true},
		{raw, []string{"old", "new"}, true},
		{raw, nil, false},
		{raw, []string{""}, false},
		{raw, []string{"good", " pasted"}, false},
		{raw, []string{"pasted\n"}, false},
		{raw, []string{strings.Repeat("x", MaxSecretBytes+1)}, false},
		{raw, []string{"1", "2", "3", "4", "5"}, false},
		{coded, []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, true},
		{coded, []string{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, true},
		{coded, []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"}, false},
		{coded, []string{"whsec_"}, false},
	} {
		if err := c.scheme.CheckSecrets(c.secrets); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.secrets, err)
		}
	}
}
