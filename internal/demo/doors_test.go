package demo

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

type clientRule = client.Rule

func TestSignaturesAreTheVendors(t *testing.T) {
	// GitHub's documentation has this one.
	h := signGitHub("It's a Secret to Everybody", &Event{ID: "d", Type: "ping"}, []byte("Hello, World!"), time.Time{})
	if got := h.Get("X-Hub-Signature-256"); got != "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" {
		t.Errorf("GitHub: %s", got)
	}
	if h.Get("X-GitHub-Event") != "ping" || h.Get("X-GitHub-Delivery") != "d" {
		t.Errorf("GitHub: %v", h)
	}
	// Stripe publishes none: this one was computed with OpenSSL.
	h = signStripe("whsec_test_secret", nil, []byte(`{"id":"evt_test_webhook","object":"event"}`), time.Unix(12345, 0))
	if got := h.Get("Stripe-Signature"); got != "t=12345,v1=e7df43adcf699b3839cf5fe20429cae4712141aee3660a1671b34f77a1be9444" {
		t.Errorf("Stripe: %s", got)
	}
}

func TestBusyServersAreAskedAgainAndRefusalsAreNot(t *testing.T) {
	for status, want := range map[int]int{http.StatusServiceUnavailable: 3, http.StatusTooManyRequests: 3, http.StatusUnauthorized: 1, http.StatusUnprocessableEntity: 1} {
		calls := 0
		_ = again(t.Context(), func() error {
			if calls++; calls == 3 {
				return nil
			}
			return &client.Error{Status: status}
		})
		if calls != want {
			t.Errorf("%d: asked %d times, want %d", status, calls, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again(ctx, func() error { return &client.Error{Status: http.StatusServiceUnavailable} }); err == nil {
		t.Error("goes on without a context")
	}
}

func TestThePathOfASourceIsFoundWhateverItsHost(t *testing.T) {
	if p, err := pathOf(client.Source{URL: "https://pulse.example.com/v1/hooks/abc"}); p != "/v1/hooks/abc" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := pathOf(client.Source{Slug: "s", URL: ""}); err == nil {
		t.Error("an empty URL is taken")
	}
}

func TestTheReceiverTellsForgeries(t *testing.T) {
	type note struct {
		kind     string
		verified bool
	}
	heard := make(chan note, 1)
	r, err := newReceiver(t.Context(), func(kind string, verified bool) { heard <- note{kind, verified} })
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.secret, "whsec_")); err != nil || len(key) < 24 {
		t.Errorf("the secret %q is not one of Standard Webhooks: %v", r.secret, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader(`{"type":"incident.firing"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Webhook-Signature", "v1,Zm9yZ2Vk")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if n := <-heard; resp.StatusCode != http.StatusUnauthorized || n.verified || n.kind != "incident.firing" {
		t.Errorf("%d, %+v", resp.StatusCode, n)
	}
}
