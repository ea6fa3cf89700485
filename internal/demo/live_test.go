package demo

import (
	"testing"
	"time"
)

func TestWhatIsDueIsSentOnceAndInTime(t *testing.T) {
	tr := NewTraffic(1, 1, Script{})
	left := Event{Source: shopSource, ID: "left over", Type: "x", At: monday().Add(30 * time.Second)}
	s := newSchedule(tr, monday(), []Event{left})
	seen := map[identity]bool{}
	last := time.Time{}
	for at := monday(); at.Before(monday().Add(15 * time.Minute)); at = at.Add(beat) {
		for _, e := range s.due(at) {
			k := identity{e.Source, e.ID}
			if seen[k] {
				t.Fatalf("%s was due twice", e.ID)
			}
			seen[k] = true
			if e.At.After(at) || at.Sub(e.At) > time.Second {
				t.Fatalf("%s of %s was due at %s", e.ID, e.At, at)
			}
			if e.At.Before(last) {
				t.Fatalf("%s of %s is behind one of %s", e.ID, e.At, last)
			}
			last = e.At
		}
	}
	for _, e := range append(told(tr, monday(), 5*time.Minute), left) { // all of whose stories are over
		if !seen[identity{e.Source, e.ID}] {
			t.Fatalf("%s of %s was never due", e.ID, e.At)
		}
	}
}

func TestASleepIsNotMadeUpFor(t *testing.T) {
	s := newSchedule(NewTraffic(1, 1, Script{}), monday(), nil)
	s.due(monday().Add(10 * time.Second))
	if n := len(s.due(monday().Add(8 * time.Hour))); n < 1000 || n > 8000 {
		t.Errorf("%d events are due after a sleep, want those of two minutes", n)
	}
}

func TestWordsOfTheConsole(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1 second", 62 * time.Second: "62 seconds", 3 * time.Minute: "3 minutes", 24 * time.Hour: "24 hours", 400 * time.Millisecond: "0 seconds",
	} {
		if got := about(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1 000", 123456: "123 456", 1234567: "1 234 567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
