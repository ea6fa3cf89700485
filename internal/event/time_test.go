package event_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func TestTimesAreRFC3339AndNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-31T12:00:00Z": "2026-01-31T12:00:00Z", "2026-01-31t12:00:00z": "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789Z": "2026-01-31T12:00:00.123456789Z",
		"2026-01-31T12:00:00.1234567891Z": "2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00+05:30": "2026-01-31T06:30:00Z", "2026-01-31T00:30:00-23:59": "2026-02-01T00:29:00Z",
		"2026-01-31T12:00:00-00:00": "2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z": "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z", "2024-02-29T00:00:00Z": "2024-02-29T00:00:00Z",
		// A leap second is the second after it.
		"2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z", "2016-12-31T18:59:60.5-05:00": "2017-01-01T00:00:00.5Z",
		"": "", "Z": "", "2026-01-31": "", "2026-01-31T12:00:00": "", "2026-01-31T12:00Z": "", "2026-01-31 12:00:00Z": "", "2026-01-31T9:00:00Z": "", "2026-01-31T12:00:00,5Z": "", "2026-01-31T12:00:00.Z": "",
		"2026-01-31T12:00:00+24:00": "", "2026-01-31T12:00:00+00:60": "", "2026-01-31T12:00:00+0530": "", "2026-01-31T24:00:00Z": "", "2026-01-31T12:60:00Z": "", "2026-01-31T12:00:60Z": "", "2026-01-31T23:59:61Z": "",
		"2016-12-31T23:59:60+01:00": "", "2026-02-29T00:00:00Z": "", "2026-13-01T00:00:00Z": "", "+2026-01-31T12:00:00Z": "", "12026-01-31T12:00:00Z": "", "2026-01-31T12:00:00Z ": "", "２026-01-31T12:00:00Z": "",
	} {
		got, ok := event.ParseTime(text)
		if ok != (want != "") || ok && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is read as %s, %v, want %q", text, got.Format(time.RFC3339Nano), ok, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-01-31T12:00:00Z", "2016-12-31T18:59:60.5-05:00", "2026-01-31t12:00:00.000z", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := event.ParseTime(s)
		if !ok {
			return
		}
		if got.Location() != time.UTC {
			t.Fatalf("%q is read as %s", s, got)
		}
		if y := got.Year(); y >= 0 && y <= 9999 {
			if again, ok := event.ParseTime(got.Format(time.RFC3339Nano)); !ok || !again.Equal(got) {
				t.Fatalf("%q is read as %s, which is read as %s, %v", s, got, again, ok)
			}
		}
		// What is taken, package time takes as the same, but for leap seconds.
		if want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s)); err == nil && !want.Equal(got) {
			t.Fatalf("%q is read as %s, package time reads %s", s, got, want)
		} else if err != nil && s[17:19] != "60" {
			t.Fatalf("%q is read as %s, package time says %v", s, got, err)
		}
	})
}
