package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func TestAReceiverThatFailsGetsItAgain(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"an error": http.StatusInternalServerError, "too many requests": http.StatusTooManyRequests, "unavailable": http.StatusServiceUnavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, allowLoopback)
			r := newReceiver(t, func(n int) int { return map[bool]int{true: status, false: http.StatusOK}[n == 0] })
			s.putWebhook("ops", r)
			s.putRule(failures("ops"))
			s.send(failed("US", 3)...)
			in := s.waitForIncidents("firing", 1, 5*time.Second)[0]
			eventually(t, 4*time.Second, func() error { // until it is tried again, the timeline says why it is not there yet
				queued := s.waitForMoment(in.ID, "notify_queued", "ops", 1)
				if last := queued.Timeline[len(queued.Timeline)-1]; !strings.Contains(last.Text, fmt.Sprint(status)) {
					return fmt.Errorf("the timeline ends with %+v", last)
				}
				return nil
			})
			r.wait(t, 1, 15*time.Second)
			all := r.requests()
			if len(all) != 2 || all[0].ID != all[1].ID || all[0].Data.Incident.ID != all[1].Data.Incident.ID {
				t.Errorf("the same message was to come twice: %+v", all)
			}
			if waited := all[1].At.Sub(all[0].At); waited < 3*time.Second {
				t.Errorf("it was tried again after %s", waited)
			}
			// Its end comes behind its beginning, and once.
			both := r.wait(t, 2, 30*time.Second)
			if both[0].Type != "incident.firing" || both[1].Type != "incident.resolved" || len(r.requests()) != 3 {
				t.Errorf("delivered %s, %s in %d requests", both[0].Type, both[1].Type, len(r.requests()))
			}
			s.wantNoErrors()
		})
	}
}

func TestAReceiverThatRefusesIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	gone, moved, working := newReceiver(t, func(int) int { return http.StatusGone }), newReceiver(t, func(int) int { return http.StatusMovedPermanently }), newReceiver(t, nil)
	for slug, r := range map[string]*receiver{"gone": gone, "moved": moved, "working": working} {
		s.putWebhook(slug, r)
		report, err := s.TestChannel(t.Context(), slug)
		if err != nil || report.OK != (slug == "working") || report.Detail == "" || slug != "moved" && report.Status != r.requests()[0].Status {
			t.Errorf("a test of %s says %+v, %v", slug, report, err)
		}
		if n := r.requests()[0]; n.Type != "channel.test" || n.Genuine != nil {
			t.Errorf("a test of %s sent %+v", slug, n)
		}
	}
	s.putRule(failures("gone", "moved", "working"))
	s.send(failed("US", 3)...)
	in := s.waitForIncidents("firing", 1, 5*time.Second)[0]
	s.waitForMoment(in.ID, "notified", "working", 1)
	s.waitForMoment(in.ID, "notify_failed", "gone", 1)
	s.waitForMoment(in.ID, "notify_failed", "moved", 1)
	for _, r := range []*receiver{gone, moved, working} {
		if n := len(r.requests()); n != 2 {
			t.Errorf("%d requests, want the test's and one", n)
		}
	}
	s.wantNoErrors()
}

func TestPrivateAddressesAreNotCalled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r, m := newReceiver(t, nil), newMailServer(t)
	port := strings.TrimPrefix(r.URL, "http://127.0.0.1:")
	for _, url := range []string{r.URL, "http://[::1]:" + port, "http://0.0.0.0:" + port, "http://169.254.169.254/latest", "http://10.0.0.1", "http://192.168.1.1", "http://[::ffff:127.0.0.1]:" + port, "http://[fe80::1]", "http://[64:ff9b::7f00:1]"} {
		body, err := json.Marshal(client.Channel{Type: "webhook", Config: map[string]any{"url": url}})
		if err != nil {
			t.Fatal(err)
		}
		p := wantProblem(t, s.exchange("PUT", "/v1/channels/private", header("Content-Type", "application/json"), body), http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.config.url" || !strings.Contains(p.Errors[0].Message, "--egress-allow") {
			t.Errorf("%s: %+v", url, p.Errors)
		}
	}
	// Names are looked up only when they are called.
	made, err := s.PutChannel(t.Context(), client.Channel{Slug: "named", Type: "webhook", Config: map[string]any{"url": "http://localhost:" + port}})
	if err != nil {
		t.Fatal(err)
	}
	r.use(made.Secret)
	// Ways to write 127.0.0.1 that only a resolver understands: either they are refused at once, or when they are called.
	for _, host := range []string{"2130706433", "127.1", "0x7f000001", "0177.0.0.1"} {
		if _, err := s.PutChannel(t.Context(), client.Channel{Slug: "odd", Type: "webhook", Config: map[string]any{"url": "http://" + host + ":" + port}}); err == nil {
			if report, err := s.TestChannel(t.Context(), "odd"); err != nil || report.OK {
				t.Errorf("%s: %+v, %v", host, report, err)
			}
		}
	}
	if _, err := s.PutChannel(t.Context(), client.Channel{Slug: "mail", Type: "email", Config: map[string]any{"to": "a@example.com", "from": "b@example.com", "host": "localhost", "port": m.port, "tls": "none"}}); err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"named", "mail"} {
		if report, err := s.TestChannel(t.Context(), slug); err != nil || report.OK || !strings.Contains(report.Detail, "--egress-allow") {
			t.Errorf("a test of %s says %+v, %v", slug, report, err)
		}
	}
	s.putRule(failures("named", "mail"))
	s.send(failed("US", 3)...)
	in := s.waitForIncidents("firing", 1, 5*time.Second)[0]
	s.waitForMoment(in.ID, "notify_failed", "named", 1)
	s.waitForMoment(in.ID, "notify_failed", "mail", 1)
	if len(r.requests())+len(m.mails()) != 0 {
		t.Errorf("%d requests and %d mails reached a private address", len(r.requests()), len(m.mails()))
	}
	s.wantNoErrors()
}

func TestSecretsOfChannelsAreNotShown(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	const secret, password = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "correct horse battery staple"
	r := newReceiver(t, nil)
	r.use(secret)
	put := func(slug string, body map[string]any) string {
		t.Helper()
		answer := s.exchange("PUT", "/v1/channels/"+slug, nil, body)
		if answer.Status > 299 {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		return string(answer.Body)
	}
	shown := put("hook", map[string]any{"type": "webhook", "config": map[string]any{"url": r.URL, "secret": secret}}) +
		put("mail", map[string]any{"type": "email", "config": map[string]any{"to": "a@example.com", "from": "b@example.com", "host": "mail.example.com", "username": "u", "password": password}}) +
		put("hook", map[string]any{"type": "webhook", "name": "Renamed", "config": map[string]any{"url": r.URL + "/other"}})
	if _, err := s.PutSource(t.Context(), "gh", "github", password); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/channels", "/v1/channels/hook", "/v1/channels/mail", "/v1/sources", "/v1/sources/gh"} {
		shown += string(s.exchange("GET", path, nil, nil).Body)
	}
	if strings.Contains(shown, secret) || strings.Contains(shown, password) || strings.Contains(s.log.tail(1000), password) || strings.Contains(s.log.tail(1000), administratorKey) {
		t.Errorf("a secret is shown: %s", shown)
	}
	if report, err := s.TestChannel(t.Context(), "hook"); err != nil || !report.OK { // the secret is the one from before
		t.Errorf("%+v, %v", report, err)
	}
	r.wait(t, 1, time.Second)
	s.wantNoErrors()
}
