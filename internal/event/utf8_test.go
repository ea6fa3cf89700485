package event

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsTakenAsUTF8ExactlyWhereItIs(t *testing.T) {
	for n := range 100 {
		plain := strings.Repeat("a", n)
		if !isText(plain) {
			t.Errorf("%d letters are said not to be UTF-8", n)
		}
		for at := range n {
			for _, c := range []string{"\xff", "\x80", "é", "\xc3", "€", "\xe2\x82"} {
				s := plain[:at] + c + plain[at+1:]
				if want := utf8.ValidString(s); isText(s) != want {
					t.Errorf("%q of %d bytes at %d: %v, want %v", c, len(s), at, !want, want)
				}
			}
		}
	}
}

func TestTheFirstEventThatIsNotTextIsFoundWhateverItIsThatIsNot(t *testing.T) {
	bad := "not text at all \xff\xfe"
	for name, spoil := range map[string]func(*Stored){
		"id": func(e *Stored) { e.ID = bad }, "subject": func(e *Stored) { e.Subject = bad }, "source": func(e *Stored) { e.Source = bad }, "type": func(e *Stored) { e.Type = bad },
		"tenant": func(e *Stored) { e.Tenant = "\xff" }, "data": func(e *Stored) { e.Data = []byte(bad) }, "extensions": func(e *Stored) { e.Extensions = []byte(bad) },
	} {
		good := Stored{Tenant: "t"}
		good.ID, good.Source, good.Type = "1", "source", "type"
		all := []Stored{good, good, good, good}
		if e := NotText(all); e != nil {
			t.Fatalf("%+v is said not to be text", e)
		}
		spoil(&all[2])
		spoil(&all[3])
		if e := NotText(all); e != &all[2] {
			t.Errorf("%s: %+v is found, want the third", name, e)
		}
		spoil(&all[0])
		if e := NotText(all); e != &all[0] {
			t.Errorf("%s: %+v is found, want the first", name, e)
		}
	}
}

func BenchmarkNotText(b *testing.B) {
	e := Stored{Tenant: "tenant-1"}
	e.ID, e.Source, e.Type, e.Subject = "0192d3f4-7c1e-7d2a-9b1c-abcdef012345", "https://api.example.com/webhooks", "com.example.payment.succeeded", "customers/12345"
	e.Data = []byte(strings.Repeat(`{"a":1},`, 25))
	all := []Stored{e}
	for b.Loop() {
		NotText(all)
	}
}
