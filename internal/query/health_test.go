package query

import (
	"strings"
	"testing"
	"time"
)

func TestIsFailure(t *testing.T) {
	for _, typ := range []string{
		"charge.failed", "invoice.payment_failed", "payment_intent.payment_failed", "message/undelivered", "email.bounce", "bounced", "sms:failed",
		"DELIVERY_FAILED", "paymentFailed", "HTTPError", "checkout.session.expired", "card.declined", "access-denied", "job.timeout", "com.acme.Order Error",
	} {
		if !IsFailure(typ) {
			t.Errorf("%q is a failure", typ)
		}
	}
	for _, typ := range []string{
		"", "charge.succeeded", "failover.started", "terror.alert", "delivered", "push", "error.resolved", "failure_recovered", "customer.source.expiring", "charge.dispute.created", "errorless",
	} {
		if IsFailure(typ) {
			t.Errorf("%q is not a failure", typ)
		}
	}
	var f FailureTypes
	if !f.Is("a.failed") || f.Is("a.ok") || !f.Is("a.failed") || f.Is("a.ok") {
		t.Error("remembered types come out the same")
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		in     Signals
		want   Status
		reason string
	}{
		{"nothing arrives", Signals{}, StatusIdle, "no events in the last 15m"},
		{"nothing arrives, info", Signals{Firing: []string{"info"}}, StatusIdle, "no events"},
		{"nothing arrives, warning", Signals{Firing: []string{"warning"}}, StatusDegraded, "a warning is open"},
		{"nothing arrives, critical", Signals{Firing: []string{"warning", "critical"}}, StatusDown, "a critical incident is open"},
		{"all well", Signals{Events: 100, Judged: 100}, StatusOK, "none of 100 events failed"},
		{"nothing to judge by", Signals{Events: 100}, StatusOK, "100 events"},
		{"a few failures", Signals{Events: 100, Judged: 100, Failed: 2}, StatusOK, "2 of 100 events failed (2.0 %)"},
		{"hardly any", Signals{Events: 9999, Judged: 9999, Failed: 1}, StatusOK, "< 0.1 %"},
		{"a tenth is still well", Signals{Events: 100, Judged: 100, Failed: 10}, StatusOK, "10 %"},
		{"more than a tenth", Signals{Events: 100, Judged: 100, Failed: 11}, StatusDegraded, "11 of 100 events failed (11 %)"},
		{"half", Signals{Events: 100, Judged: 100, Failed: 50}, StatusDegraded, "50 %"},
		{"more than half", Signals{Events: 100, Judged: 100, Failed: 51}, StatusDown, "51 of 100"},
		{"one of one says little", Signals{Events: 1, Judged: 1, Failed: 1}, StatusOK, "1 of 1"},
		{"five say something", Signals{Events: 5, Judged: 5, Failed: 5}, StatusDown, "100 %"},
		{"warning", Signals{Events: 100, Judged: 100, Firing: []string{"warning"}}, StatusDegraded, "a warning is open"},
		{"critical", Signals{Events: 100, Judged: 100, Firing: []string{"critical"}}, StatusDegraded, "a critical incident is open"},
		{"critical and failures", Signals{Events: 100, Judged: 100, Failed: 20, Firing: []string{"critical"}}, StatusDown, "20 of 100"},
		{"info", Signals{Events: 100, Judged: 100, Firing: []string{"info"}}, StatusOK, "none of 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Window = 15 * time.Minute
			got, reason := Judge(c.in)
			if got != c.want || !strings.Contains(reason, c.reason) {
				t.Errorf("got %s, %q; want %s, %q", got, reason, c.want, c.reason)
			}
		})
	}
}

func TestParseWindow(t *testing.T) {
	for in, want := range map[string]time.Duration{"": 15 * time.Minute, "window=1h": time.Hour, "window=1d": 24 * time.Hour} {
		if got, errs := ParseWindow(values(in)); got != want || errs != nil {
			t.Errorf("%q: got %s, %v", in, got, errs)
		}
	}
	for _, in := range []string{"window=x", "window=30s", "window=90s", "window=2d", "window=1h&window=2h"} {
		if _, errs := ParseWindow(values(in)); len(errs) != 1 || errs[0].Location != "query.window" {
			t.Errorf("%q: got %v", in, errs)
		}
	}
}
