package demo

import (
	"slices"
	"testing"
	"time"
)

func TestOutagesTakeTurns(t *testing.T) {
	first := monday()
	s := Script{First: first, Lasts: 3 * time.Minute, Pause: 2 * time.Minute}
	for _, c := range []struct {
		after time.Duration
		want  string // the trouble, "" for none
	}{
		{-time.Hour, ""},
		{-time.Nanosecond, ""},
		{0, stripeDown},
		{3*time.Minute - time.Nanosecond, stripeDown},
		{3 * time.Minute, ""},
		{5*time.Minute - time.Nanosecond, ""},
		{5 * time.Minute, twilioDown},
		{10 * time.Minute, githubDown},
		{15 * time.Minute, sendgridDown},
		{19 * time.Minute, ""},
		{20 * time.Minute, stripeDown},
		{100*time.Hour + time.Minute, stripeDown},
	} {
		o, broken := s.At(first.Add(c.after))
		if broken != (c.want != "") || broken && o.name != c.want {
			t.Errorf("%s: %v %+v, want %q", c.after, broken, o.trouble, c.want)
		}
		if at := first.Add(c.after); broken && (at.Before(o.From) || !at.Before(o.To)) {
			t.Errorf("%s is not from %s to %s", at, o.From, o.To)
		}
	}
	if o, broken := (&Script{}).At(first); broken {
		t.Errorf("a script without a beginning has the outage %+v", o)
	}
}

func TestEveryTroubleHasItsRule(t *testing.T) {
	all := rules(nil)
	for _, w := range troubles() {
		if !slices.ContainsFunc(all, func(r clientRule) bool { return r.Slug == w.rule }) {
			t.Errorf("%s: there is no rule %s", w.name, w.rule)
		}
	}
}

// judged is what a trouble is about: the events that fail or succeed, and which of them are hit.
type judged struct {
	of     func(e *Event, data object) (hit, tells bool)
	failed func(e *Event, data object) bool
}

func judges() map[string]judged {
	return map[string]judged{
		stripeDown: {
			func(e *Event, data object) (bool, bool) {
				if e.Type != "charge.succeeded" && e.Type != "charge.failed" {
					return false, false
				}
				charge := data["data"].(object)["object"].(object)
				return charge["payment_method_details"].(object)["card"].(object)["country"] == "US", true
			},
			func(e *Event, _ object) bool { return e.Type == "charge.failed" },
		},
		twilioDown: {
			func(e *Event, data object) (bool, bool) {
				return data["country"] == "GB", e.Type == "message.delivered" || e.Type == "message.undelivered"
			},
			func(e *Event, _ object) bool { return e.Type == "message.undelivered" },
		},
		githubDown: {
			func(e *Event, _ object) (bool, bool) { return true, e.Type == "workflow_run" },
			func(_ *Event, data object) bool {
				c := data["workflow_run"].(object)["conclusion"]
				return c == "failure" || c == "timed_out"
			},
		},
		sendgridDown: {
			func(e *Event, data object) (bool, bool) {
				return data["domain"] == "gmail.com", e.Type == "email.delivered" || e.Type == "email.bounce"
			},
			func(e *Event, _ object) bool { return e.Type == "email.bounce" },
		},
	}
}

func TestAnOutageHitsWhatItIsAboutAndNothingElse(t *testing.T) {
	script := Script{First: monday(), Lasts: 3 * time.Minute, Pause: 2 * time.Minute}
	events := told(NewTraffic(1, 2, script), monday().Add(-10*time.Minute), 32*time.Minute)
	for n, trouble := range troubles() {
		o, j := script.Turn(n), judges()[trouble.name]
		if o.name != trouble.name {
			t.Fatalf("turn %d is %s", n, o.name)
		}
		for _, c := range []struct {
			what        string
			hit         bool
			from, to    time.Time
			least, most float64
		}{
			{"hit, during the outage", true, o.From, o.To, 0.65, 0.97},
			{"not hit, during the outage", false, o.From, o.To, 0, 0.12},
			{"hit, before the outage", true, o.From.Add(-90 * time.Second), o.From, 0, 0.12},
			{"hit, after the outage", true, o.To.Add(15 * time.Second), o.To.Add(90 * time.Second), 0, 0.12},
		} {
			failed, all := 0, 0
			for _, e := range events {
				data, _ := e.Data.(object)
				hit, tells := j.of(&e, data)
				if !tells || hit != c.hit || e.At.Before(c.from) || !e.At.Before(c.to) {
					continue
				}
				if all++; j.failed(&e, data) {
					failed++
				}
			}
			if trouble.name == githubDown && !c.hit {
				continue // it hits all
			}
			if share := float64(failed) / float64(all); all < 20 || share < c.least || share > c.most {
				t.Errorf("%s, %s: %d of %d failed", trouble.name, c.what, failed, all)
			}
		}
	}
}
