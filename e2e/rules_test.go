package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// allowLoopback lets a server call the receivers of these tests.
const allowLoopback = "--egress-allow=127.0.0.0/8"

// failures is a rule that fires when a country has more than two failed charges in ten seconds, the shortest window there is.
func failures(channels ...string) client.Rule {
	return client.Rule{Slug: "failures", Name: "Charges fail", Metric: "charges", Agg: "count", GroupBy: []string{"country"}, Where: map[string]string{"status": "failed"}, Window: "10s",
		Condition: client.Condition{Type: "threshold", Op: ">", Value: 2}, Severity: "critical", Channels: channels, Summary: "Look at the payment page", Labels: map[string]string{"team": "payments"}}
}

func (s *server) putRule(r client.Rule) {
	s.t.Helper()
	if _, err := s.PutMetric(s.t.Context(), client.Metric{Slug: "charges", EventTypes: []string{"charge"}, Value: "data.amount",
		Dimensions: map[string]string{"country": "data.country", "status": "data.status"}}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.PutRule(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

func charge(country, status string) client.Event {
	return client.Event{Type: "charge", Data: map[string]any{"country": country, "status": status, "amount": 1}}
}

func failed(country string, n int) []client.Event {
	return slices.Repeat([]client.Event{charge(country, "failed")}, n)
}

// waitForIncidents waits until there are n incidents in a state.
func (s *server) waitForIncidents(state string, n int, within time.Duration) []client.Incident {
	s.t.Helper()
	var got []client.Incident
	eventually(s.t, within, func() error {
		var err error
		got, err = s.Incidents(s.t.Context(), state, "failures")
		if err == nil && len(got) != n {
			err = fmt.Errorf("%d incidents %s, want %d", len(got), state, n)
		}
		return err
	})
	return got
}

// waitForMoment waits until an incident's timeline has an entry.
func (s *server) waitForMoment(incident, kind, by string, n int) client.Incident {
	s.t.Helper()
	var got client.Incident
	eventually(s.t, 15*time.Second, func() error {
		var err error
		got, err = s.Incident(s.t.Context(), incident)
		found := 0
		for _, m := range got.Timeline {
			if m.Kind == kind && m.By == by {
				found++
			}
		}
		if err == nil && found != n {
			err = fmt.Errorf("%d times %s by %s in %+v, want %d", found, kind, by, got.Timeline, n)
		}
		return err
	})
	return got
}

// Not in parallel to others: it measures time.
func TestABreachIsDeliveredWithinTwoSeconds(t *testing.T) {
	s := newServer(t, allowLoopback)
	r := newReceiver(t, nil)
	s.putWebhook("ops", r)
	s.putRule(failures("ops"))
	var took []time.Duration
	for i, country := range []string{"US", "DE", "FR"} {
		s.send(failed(country, 2)...)
		began := time.Now()
		s.send(failed(country, 1)...)
		got := r.wait(t, i+1, 10*time.Second)
		took = append(took, got[i].At.Sub(began))
		if in := got[i].Data.Incident; got[i].Type != "incident.firing" || in.Labels["country"] != country {
			t.Errorf("delivered %+v", got[i])
		}
	}
	t.Logf("from breach to delivered webhook: %s", took)
	if worst := slices.Max(took); worst > 2*time.Second {
		t.Errorf("a breach was delivered only after %s", worst)
	}
	s.wantNoErrors()
}

func TestAnIncidentFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	r, m := newReceiver(t, nil), newMailServer(t)
	s.putWebhook("ops", r)
	s.putEmail("mail", m)
	s.putRule(failures("ops", "mail"))
	v := s.view(t)
	if f := v.subscribe(client.Subscription{ID: "i", Topic: "incidents"}); len(f.Incidents) != 0 {
		t.Errorf("incidents before anything has happened: %+v", f.Incidents)
	}
	s.send(append(failed("US", 2), charge("US", "succeeded"), charge("DE", "failed"))...)
	s.send(failed("US", 1)...)

	in := s.waitForIncidents("firing", 1, 5*time.Second)[0]
	want := map[string]string{"country": "US", "team": "payments"}
	if in.Rule != "failures" || in.RuleName != "Charges fail" || in.Metric != "charges" || in.State != "firing" || in.Severity != "critical" || in.Value != 3 || in.Threshold != 2 ||
		in.Summary != "Look at the payment page" || !maps.Equal(in.Labels, want) || in.ResolvedAt != nil || time.Since(in.StartedAt) > time.Minute {
		t.Errorf("the incident is %+v", in)
	}
	for _, word := range []string{"3", "2", "10s", "country=US", "failed"} {
		if !strings.Contains(in.Explanation, word) {
			t.Errorf("the explanation %q does not mention %s", in.Explanation, word)
		}
	}
	f := v.until("i", "incidents")
	if len(f.Incidents) != 1 || f.Incidents[0].ID != in.ID || f.Incidents[0].State != "firing" {
		t.Errorf("the live page is told %+v", f.Incidents)
	}
	first := r.wait(t, 1, 5*time.Second)[0]
	if got := first.Data.Incident; first.Type != "incident.firing" || got.ID != in.ID || got.State != "firing" || got.Value != 3 || got.Threshold != 2 || got.Explanation != in.Explanation ||
		got.Summary != in.Summary || got.RuleName != "Charges fail" || got.Severity != "critical" || !maps.Equal(got.Labels, want) || !first.Time.Equal(in.StartedAt) {
		t.Errorf("the webhook says %+v", first)
	}
	s.waitForMoment(in.ID, "notified", "ops", 1)
	s.waitForMoment(in.ID, "notified", "mail", 1)
	wantMail(t, m.mails(), 1, "[FIRING] critical: Charges fail", in.Explanation)

	acked, err := s.Acknowledge(t.Context(), in.ID, "On it")
	if err != nil || acked.AcknowledgedBy != "bootstrap" || acked.AcknowledgedAt == nil {
		t.Errorf("acknowledged: %+v, %v", acked, err)
	}
	said, err := s.Comment(t.Context(), in.ID, "It is the <bank> ☃")
	if err != nil || len(said.Timeline) == 0 {
		t.Errorf("commented: %+v, %v", said, err)
	}
	eventually(t, 5*time.Second, func() error { // the live page is told of that as well
		f := v.until("i", "incidents")
		last := f.Incidents[len(f.Incidents)-1]
		if last.AcknowledgedBy == "" || !slices.ContainsFunc(last.Timeline, func(m client.Moment) bool { return m.Kind == "comment" }) {
			return fmt.Errorf("the live page is told %+v", last)
		}
		return nil
	})

	// The window empties, and that ends it.
	done := s.waitForIncidents("resolved", 1, 20*time.Second)[0]
	if done.ID != in.ID || done.ResolvedAt == nil || done.ResolvedAt.Sub(done.StartedAt) < 9*time.Second || done.ResolvedAt.Sub(done.StartedAt) > 20*time.Second {
		t.Errorf("resolved: %+v", done)
	}
	both := r.wait(t, 2, 5*time.Second)
	if last := both[1]; last.Type != "incident.resolved" || last.Data.Incident.ID != in.ID || last.Data.Incident.State != "resolved" || last.Data.Incident.ResolvedAt == nil || last.ID == both[0].ID {
		t.Errorf("the webhook says %+v", last)
	}
	s.waitForMoment(in.ID, "notified", "ops", 2)
	whole := s.waitForMoment(in.ID, "notified", "mail", 2)
	wantMail(t, m.mails(), 2, "[RESOLVED] critical: Charges fail", "US")
	var kinds []string
	for _, m := range whole.Timeline {
		if m.Kind != "notified" {
			kinds = append(kinds, m.Kind)
		}
	}
	if got := strings.Join(kinds, " "); got != "firing ack comment resolved" {
		t.Errorf("the timeline is %q: %+v", got, whole.Timeline)
	}
	if n := len(r.requests()); n != 2 {
		t.Errorf("%d requests for two transitions", n)
	}
	for path, body := range map[string]string{"/v1/incidents/none/ack": `{}`, "/v1/incidents/none/comments": `{"text":"x"}`} {
		wantProblem(t, s.exchange("POST", path, header("Content-Type", "application/json"), []byte(body)), http.StatusNotFound)
	}
	wantProblem(t, s.exchange("POST", "/v1/incidents/"+in.ID+"/comments", header("Content-Type", "application/json"), []byte(`{"text":""}`)), http.StatusUnprocessableEntity)
	s.wantNoErrors()
}

func wantMail(t *testing.T, mails []mail, n int, words ...string) {
	t.Helper()
	if len(mails) != n {
		t.Errorf("%d mails, want %d", len(mails), n)
		return
	}
	last := mails[n-1]
	text := strings.NewReplacer("=\r\n", "", "=3D", "=", "=20", " ").Replace(last.text) // as quoted-printable writes it
	for _, word := range append(words, "To: \"On Call\" <oncall@example.com>", "Auto-Submitted: auto-generated") {
		if !strings.Contains(text, word) {
			t.Errorf("the mail lacks %q:\n%s", word, last.text)
		}
	}
	if last.from != "pulse@example.com" || !slices.Equal(last.to, []string{"oncall@example.com"}) {
		t.Errorf("the mail went from %s to %s", last.from, last.to)
	}
}

func TestAConditionMustHoldAndMayClearLate(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	r := newReceiver(t, nil)
	s.putWebhook("ops", r)
	rule := failures("ops")
	zero := 0.0
	rule.For, rule.Condition.Clear = "3s", &zero
	s.putRule(rule)
	began := time.Now()
	s.send(failed("US", 3)...)
	in := s.waitForIncidents("firing", 1, 15*time.Second)[0]
	if waited := in.StartedAt.Sub(began); waited < 3*time.Second || waited > 6*time.Second {
		t.Errorf("it fired %s after the breach, want 3 s", waited)
	}
	if in.Timeline[0].Kind != "pending" || in.Timeline[1].Kind != "firing" || in.Timeline[1].At.Sub(in.Timeline[0].At) < 3*time.Second {
		t.Errorf("the timeline is %+v", in.Timeline)
	}
	// Five seconds later the first three have left the window, but this one has not: 1 is below the threshold and above clear.
	for time.Since(began) < 8*time.Second {
		pace(t, 100*time.Millisecond)
	}
	s.send(failed("US", 1)...)
	for time.Since(began) < 14*time.Second {
		pace(t, 100*time.Millisecond)
	}
	s.waitForIncidents("firing", 1, time.Second)
	done := s.waitForIncidents("resolved", 1, 15*time.Second)[0]
	if lasted := done.ResolvedAt.Sub(began); lasted < 17*time.Second {
		t.Errorf("it was resolved after %s, although it clears only at 0", lasted)
	}
	r.wait(t, 2, 5*time.Second)
	// A breach that does not last fires nothing.
	rule.For = "30s"
	s.putRule(rule)
	s.send(failed("DE", 3)...)
	pace(t, 2*time.Second)
	if all, err := s.Incidents(t.Context(), "", "failures"); err != nil || len(all) != 1 {
		t.Errorf("%d incidents, %v", len(all), err)
	}
	s.wantNoErrors()
}

func TestAnIncidentOutlivesARestart(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server){"killed": func(s *server) { s.kill() }, "stopped": func(s *server) { s.stop() }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, allowLoopback)
			down := newReceiver(t, func(int) int { return http.StatusServiceUnavailable })
			up, m := newReceiver(t, nil), newMailServer(t)
			s.putWebhook("down", down)
			s.putWebhook("up", up)
			s.putEmail("mail", m)
			s.putRule(failures("down", "up", "mail"))
			s.send(failed("US", 3)...)
			before := s.waitForIncidents("firing", 1, 5*time.Second)[0]
			s.waitForMoment(before.ID, "notified", "up", 1)
			s.waitForMoment(before.ID, "notified", "mail", 1)
			eventually(t, 5*time.Second, func() error {
				if len(down.requests()) == 0 {
					return fmt.Errorf("it was not tried yet")
				}
				return nil
			})
			end(s)
			down.answers(nil)
			s.start()
			s.send(failed("US", 3)...) // it goes on
			after := s.waitForIncidents("firing", 1, 5*time.Second)[0]
			if after.ID != before.ID || !after.StartedAt.Equal(before.StartedAt) {
				t.Errorf("another incident: %+v, before %+v", after, before)
			}
			if got := down.wait(t, 1, 20*time.Second); got[0].ID != down.requests()[0].ID || got[0].Data.Incident.ID != before.ID {
				t.Errorf("what was left is delivered as %+v", got[0])
			}
			s.waitForIncidents("resolved", 1, 30*time.Second)
			for name, r := range map[string]*receiver{"down": down, "up": up} {
				got := r.wait(t, 2, 20*time.Second)
				if len(got) != 2 || got[0].Type != "incident.firing" || got[1].Type != "incident.resolved" || got[1].Data.Incident.ID != before.ID {
					t.Errorf("%s got %+v", name, got)
				}
			}
			s.waitForMoment(before.ID, "notified", "mail", 2)
			if n := len(m.mails()); n != 2 {
				t.Errorf("%d mails, want one for each transition", n)
			}
			if all, err := s.Incidents(t.Context(), "", ""); err != nil || len(all) != 1 {
				t.Errorf("%d incidents, %v", len(all), err)
			}
			s.wantNoErrors()
		})
	}
}

func TestADeletedRuleResolvesItsIncidents(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	r := newReceiver(t, nil)
	s.putWebhook("ops", r)
	s.putRule(failures("ops"))
	s.send(append(failed("US", 3), failed("DE", 3)...)...)
	s.waitForIncidents("firing", 2, 5*time.Second)
	if err := s.DeleteRule(t.Context(), "failures"); err != nil {
		t.Fatal(err)
	}
	for _, in := range s.waitForIncidents("resolved", 2, 10*time.Second) {
		if in.Explanation == "" {
			t.Errorf("%+v", in)
		}
	}
	if got := r.wait(t, 4, 10*time.Second); len(got) != 4 {
		t.Errorf("%d notifications", len(got))
	}
	s.wantNoErrors()
}
