package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func event(id, subject string) Event {
	return Event{ID: id, Source: "shop", Type: "t", Subject: subject}
}

func TestOutcomeIsTheBestThatWasEverSaid(t *testing.T) {
	for answers, want := range map[string]Outcome{
		"":                             Unknown,
		"unknown":                      Unknown,
		"refused":                      Refused,
		"acknowledged":                 Acknowledged,
		"unknown refused":              Unknown,
		"refused unknown":              Unknown,
		"refused refused":              Refused, //nolint:dupword // two answers
		"unknown acknowledged":         Acknowledged,
		"acknowledged unknown refused": Acknowledged,
	} {
		l := New()
		for _, a := range strings.Fields(answers) {
			if err := l.Answered(l.Sending([]Event{event("1", "")}), Outcome(a), 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		if answers == "" {
			l.Sending([]Event{event("1", "")})
		}
		r, ok := l.Find("shop", "1", "")
		if !ok || r.Outcome() != want {
			t.Errorf("%q is %s, want %s", answers, r.Outcome(), want)
		}
		counted := map[Outcome]int{Acknowledged: l.Totals().Acknowledged, Refused: l.Totals().Refused, Unknown: l.Totals().Unknown}
		if got := l.Totals(); got.Sent != 1 || counted[want] != 1 || got.Acknowledged+got.Refused+got.Unknown != 1 {
			t.Errorf("%q counts as %+v", answers, got)
		}
	}
}

func TestRejectedEventsOfAnAcknowledgedRequestAreRefused(t *testing.T) {
	l := New()
	n := l.Sending([]Event{event("a", ""), event("b", ""), event("", "c")})
	if err := l.Answered(n, Acknowledged, 202, []int{1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, subject string
		want        Outcome
	}{{"a", "", Acknowledged}, {"b", "", Refused}, {"made-by-server", "c", Acknowledged}} {
		if r, ok := l.Find("shop", c.id, c.subject); !ok || r.Outcome() != c.want {
			t.Errorf("%s%s is %s, want %s", c.id, c.subject, r.Outcome(), c.want)
		}
	}
	if _, ok := l.Find("other", "a", "c"); ok {
		t.Error("found an event of another source")
	}
}

func TestAnAnswerNeedsARequest(t *testing.T) {
	l := New()
	n := l.Sending([]Event{event("a", "")})
	if err := l.Answered(n+1, Acknowledged, 202, nil); err == nil {
		t.Error("an answer to nothing was taken")
	}
	if err := l.Answered(n, Acknowledged, 202, nil); err != nil {
		t.Error(err)
	}
	if err := l.Answered(n, Acknowledged, 202, nil); err == nil {
		t.Error("a second answer was taken")
	}
}

func TestALedgerComesBackFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 1, 2, 3, 456789012, time.UTC)
	for i := range 50 {
		n := l.Sending([]Event{{ID: fmt.Sprint(i), Source: "shop", Type: "t", Time: at, Data: Fingerprint([]byte("{}"))}, event("", fmt.Sprint("m", i))})
		if i%5 == 4 {
			continue // never answered
		}
		if err := l.Answered(n, []Outcome{Acknowledged, Refused, Unknown, Acknowledged}[i%5], 202, []int{1}[:i%2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); err == nil {
		t.Error("a ledger was written over")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", `{"request":51,"sent":[{"id":"cut o`} {
		got, err := Read(strings.NewReader(string(text) + tail))
		if err != nil {
			t.Fatal(err)
		}
		if got.Totals() != l.Totals() {
			t.Errorf("read %+v, was %+v", got.Totals(), l.Totals())
		}
		for _, want := range l.Records() {
			if r, ok := got.Find(want.Source, want.ID, want.Subject); !ok || r != want {
				t.Errorf("read %+v, was %+v", r, want)
			}
		}
	}
	for _, wrong := range []string{"{\n", "{\"request\":99,\"outcome\":\"acknowledged\"}\n"} {
		if _, err := Read(strings.NewReader(string(text) + wrong)); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
}
