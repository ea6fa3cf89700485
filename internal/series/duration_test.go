package series

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestDurationReadsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1.5d": 36 * time.Hour,
		"2w": 14 * 24 * time.Hour, "0s": 0, "0": 0, "-1d": -24 * time.Hour, "250ms": 250 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "1y", "NaNd", "infd", "1e300d", "99999w", "-99999w", "ten minutes", "1d2h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestDurationIsWrittenInItsLargestWholeUnit(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour, "7d": 7 * 24 * time.Hour, "90m": 90 * time.Minute,
		"0s": 0, "1500ms": 1500 * time.Millisecond, "1.5µs": 1500 * time.Nanosecond, "-2d": -48 * time.Hour,
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestDurationInJSON(t *testing.T) {
	var v struct {
		Window Duration `json:"window"`
	}
	if err := json.Unmarshal([]byte(`{"window":"5m"}`), &v); err != nil || v.Window != Duration(5*time.Minute) {
		t.Fatalf("%v, %v", v.Window, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"window":"5m"}` {
		t.Errorf("written as %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"window":"soon"}`), &v); err == nil || v.Window != Duration(5*time.Minute) {
		t.Errorf("a bad duration: %v, %v", v.Window, err)
	}
	if err := json.Unmarshal([]byte(`{"window":""}`), &v); err != nil || v.Window != 0 {
		t.Errorf("an empty duration: %v, %v", v.Window, err)
	}
}

func FuzzDurationRoundTrips(f *testing.F) {
	for _, d := range []int64{0, 1, -1, int64(time.Hour), math.MaxInt64, math.MinInt64, int64(36 * time.Hour)} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d int64) {
		if got, err := ParseDuration(Duration(d).String()); err != nil || got != Duration(d) {
			t.Fatalf("%d is written %s and read %v, %v", d, Duration(d), got, err)
		}
	})
}
