package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// forgeries are headers whose signature is not good, made from one that is.
func forgeries(name string, good http.Header) map[string]http.Header {
	signature := good.Get(name)
	out := map[string]http.Header{}
	for what, values := range map[string][]string{
		"no signature": nil, "an empty signature": {""}, "a signature cut short": {signature[:len(signature)-1]}, "a signature with more behind it": {signature + "0"},
		"two headers": {signature, signature}, "a number": {"1"}, "bytes": {"\xff\xfe"},
	} {
		h := good.Clone()
		h[http.CanonicalHeaderKey(name)] = values
		out[what] = h
	}
	return out
}

func TestForgedWebhooksAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const secret = "0123456789abcdef"
	gh, err := s.PutSource(t.Context(), "gh", "github", secret)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.PutSource(t.Context(), "st", "stripe", secret)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, to string, h http.Header, body []byte) {
		t.Helper()
		if p := wantProblem(t, deliver(t, to, h, body), http.StatusUnauthorized); p.Code == "" || p.Detail == "" {
			t.Errorf("%s: %+v", what, p)
		}
	}

	push := gitHubWebhooks(t, false)[0]
	good := gitHubSigned(push, secret)
	for what, h := range forgeries("X-Hub-Signature-256", good) {
		refused("GitHub, "+what, gh.URL, h, push.body)
	}
	upper := good.Clone()
	upper.Set("X-Hub-Signature-256", "sha256="+strings.ToUpper(strings.TrimPrefix(good.Get("X-Hub-Signature-256"), "sha256=")))
	refused("GitHub, capitals", gh.URL, upper, push.body)
	refused("GitHub, another secret", gh.URL, gitHubSigned(push, secret+"x"), push.body)
	refused("GitHub, an empty secret", gh.URL, gitHubSigned(push, ""), push.body)
	refused("GitHub, another body", gh.URL, good, append(bytes.Clone(push.body), ' '))
	refused("GitHub, a body cut short", gh.URL, good, push.body[:len(push.body)-1])
	refused("GitHub, no body", gh.URL, good, nil)
	for i := range push.body { // any one byte of the body changed
		if i%23 == 0 {
			changed := bytes.Clone(push.body)
			changed[i] ^= 0x20
			refused("GitHub, byte "+strconv.Itoa(i), gh.URL, good, changed)
		}
	}
	legacy := good.Clone()
	legacy.Del("X-Hub-Signature-256")
	refused("GitHub, the old signature only", gh.URL, legacy, push.body)
	refused("GitHub's to Stripe's hook", st.URL, good, push.body)

	charge := stripeWebhooks(t, false)[0]
	signed := stripeSigned(charge, secret)
	whole, _, _ := strings.Cut(signed.Get("Stripe-Signature"), ",v0=") // so that v1, which counts, is what ends the header
	signed.Set("Stripe-Signature", whole)
	for what, h := range forgeries("Stripe-Signature", signed) {
		refused("Stripe, "+what, st.URL, h, charge.body)
	}
	now := time.Now()
	t1 := strconv.FormatInt(now.Unix(), 10)
	v1 := hmacHex(sha256.New, secret, []byte(t1+"."), charge.body)
	for what, signature := range map[string]string{
		"six minutes old":        stripeSignature(charge.body, secret, now.Add(-6*time.Minute)),
		"a day old":              stripeSignature(charge.body, secret, now.Add(-24*time.Hour)),
		"six minutes ahead":      stripeSignature(charge.body, secret, now.Add(6*time.Minute)),
		"another secret":         stripeSignature(charge.body, secret+"x", now),
		"another body":           stripeSignature(append(bytes.Clone(charge.body), '\n'), secret, now),
		"another time":           "t=" + strconv.FormatInt(now.Unix()-1, 10) + ",v1=" + v1,
		"no time":                "v1=" + v1,
		"an empty time":          "t=,v1=" + v1,
		"a time that is none":    "t=now,v1=" + v1,
		"two times":              "t=" + t1 + ",t=" + t1 + ",v1=" + v1,
		"a negative time":        "t=-" + t1 + ",v1=" + v1,
		"an old version only":    "t=" + t1 + ",v0=" + v1,
		"no version":             "t=" + t1,
		"v1 cut short":           "t=" + t1 + ",v1=" + v1[:63],
		"v1 with more behind it": "t=" + t1 + ",v1=" + v1 + "0",
		"an empty v1":            "t=" + t1 + ",v1=",
		"spaces":                 "t=" + t1 + ", v1=" + v1,
	} {
		h := charge.header.Clone()
		h.Set("Stripe-Signature", signature)
		refused("Stripe, "+what, st.URL, h, charge.body)
	}
	refused("Stripe, a body cut short", st.URL, stripeSigned(charge, secret), charge.body[:len(charge.body)-1])
	refused("a key instead of a signature", st.URL, header("Authorization", "Bearer "+administratorKey, "Content-Type", "application/json"), charge.body)

	// Afterwards the good ones are taken: of several signatures any may be good, and what is unknown is passed over.
	several := charge.header.Clone()
	several.Set("Stripe-Signature", "t="+t1+",v1="+strings.Repeat("0", 64)+",v2=x,v1="+v1)
	for to, w := range map[string]struct {
		h    http.Header
		body []byte
	}{gh.URL: {good, push.body}, st.URL: {several, charge.body}} {
		if r := deliver(t, to, w.h, w.body); r.Status != http.StatusAccepted {
			t.Errorf("a good one: %d %s", r.Status, r.Body)
		}
	}
	s.waitForEvents(client.EventQuery{}, 2) // and none of the forged ones
	s.wantNoErrors()
}

func TestSignedWebhooksThatMakeNoEvent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const secret = "0123456789abcdef"
	st, err := s.PutSource(t.Context(), "st", "stripe", secret)
	if err != nil {
		t.Fatal(err)
	}
	gh, err := s.PutSource(t.Context(), "gh", "github", secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	for what, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no JSON":        {`{"id":`, 400, "malformed"},
		"nothing":        {``, 400, "malformed"},
		"no object":      {`["evt_1"]`, 400, "not_an_object"},
		"no id":          {`{"type":"charge.succeeded","created":1}`, 422, "missing_id"},
		"a number as id": {`{"id":7,"type":"charge.succeeded","created":1}`, 422, "missing_id"},
		"no type":        {fmt.Sprintf(`{"id":"evt_1","created":%d}`, now), 422, "missing_type"},
		"no time":        {`{"id":"evt_1","type":"t","created":"soon"}`, 422, "invalid_time"},
		"too old":        {fmt.Sprintf(`{"id":"evt_1","type":"t","created":%d}`, now-31*24*3600), 422, "time_out_of_range"},
		"too early":      {fmt.Sprintf(`{"id":"evt_1","type":"t","created":%d}`, now+3600), 422, "time_out_of_range"},
		"too deep":       {fmt.Sprintf(`{"id":"evt_1","type":"t","created":%d,"data":%s%s}`, now, strings.Repeat("[", 32), strings.Repeat("]", 32)), 422, "too_deep"},
		"too large":      {fmt.Sprintf(`{"id":"evt_1","type":"t","created":%d,"data":%q}`, now, strings.Repeat("x", 256<<10)), 413, "too_large"},
		"far too large":  {`{"x":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
	} {
		w := webhook{body: []byte(c.body), header: header("Content-Type", "application/json")}
		if p := wantProblem(t, deliver(t, st.URL, stripeSigned(w, secret), w.body), c.status); p.Code != c.code {
			t.Errorf("%s: code %q, want %q", what, p.Code, c.code)
		}
	}
	nameless := webhook{body: []byte(`{}`), header: header("Content-Type", "application/json", "X-GitHub-Event", "push")}
	wantProblem(t, deliver(t, gh.URL, gitHubSigned(nameless, secret), nameless.body), http.StatusUnprocessableEntity)

	// GitHub may send a form, whose whole is what it signs.
	form := webhook{body: []byte("payload=" + url.QueryEscape(`{"zen":"a+b & c"}`)), header: header("Content-Type", "application/x-www-form-urlencoded", "X-GitHub-Event", "ping", "X-GitHub-Delivery", "form-1")}
	if r := deliver(t, gh.URL, gitHubSigned(form, secret), form.body); r.Status != http.StatusAccepted {
		t.Errorf("a form: %d %s", r.Status, r.Body)
	}
	for _, e := range s.waitForEvents(client.EventQuery{}, 1) {
		if e.ID != "form-1" || e.Source != "gh" || e.Type != "ping" || string(e.Data) != `{"zen":"a+b & c"}` {
			t.Errorf("stored as %+v", e)
		}
	}
	if err := s.DeleteSource(t.Context(), "gh"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, deliver(t, gh.URL, gitHubSigned(form, secret), form.body), http.StatusNotFound)
	s.waitForEvents(client.EventQuery{Source: "gh"}, 1) // its events stay
	s.wantNoErrors()
}
