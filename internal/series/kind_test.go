package series

import (
	"slices"
	"testing"
	"time"
)

func TestAlignIsTheStartOfTheStepAlsoBefore1970(t *testing.T) {
	for _, c := range []struct {
		at, want string
		step     time.Duration
	}{
		{"2024-05-06T07:08:09.5Z", "2024-05-06T07:08:00Z", time.Minute},
		{"2024-05-06T07:08:09.5Z", "2024-05-06T00:00:00Z", 24 * time.Hour},
		{"2024-05-06T07:08:00Z", "2024-05-06T07:08:00Z", time.Minute},
		{"2024-05-06T07:08:09.5+05:30", "2024-05-06T01:00:00Z", time.Hour},
		{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", time.Hour},
		{"1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:00Z", time.Minute},
		{"1969-12-31T23:59:00Z", "1969-12-31T23:59:00Z", time.Minute},
		{"1969-12-30T12:00:00Z", "1969-12-30T00:00:00Z", 24 * time.Hour},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		got := Align(at, c.step)
		if got.Format(time.RFC3339Nano) != c.want || got.Location() != time.UTC {
			t.Errorf("%s falls into the %v of %v, want %s", c.at, c.step, got, c.want)
		}
	}
}

func TestEveryKindIsReadAndNoOther(t *testing.T) {
	for _, k := range Kinds() {
		if got, err := ParseKind(string(k)); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	for _, s := range []string{"", "COUNT", "median", "p42"} {
		if _, err := ParseKind(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestAppendKeyIsKey(t *testing.T) {
	for _, l := range []Labels{nil, {""}, {"a"}, {"a", "b"}, {"", "", "\x00"}} {
		if got := string(l.AppendKey([]byte("x"))); got != "x"+l.Key() {
			t.Errorf("%q: %q", l, got)
		}
	}
}

// cut makes n labels of s, at the given places.
func cut(s string, n int, places uint64) Labels {
	var l Labels
	for range n - 1 {
		i := int(places % uint64(len(s)+1))
		places /= uint64(len(s) + 1)
		l, s = append(l, s[:i]), s[i:]
	}
	return append(l, s)
}

func FuzzLabelsOfOneLengthHaveDifferentKeys(f *testing.F) {
	f.Add("abcd", "abcd", uint64(1), uint64(2), uint8(2))
	f.Add("\x00\x00\x00\x01a", "\x00\x00\x00\x01a", uint64(0), uint64(4), uint8(3))
	f.Add("a\x00\x00\x00\x01b", "ab", uint64(1), uint64(1), uint8(1))
	f.Fuzz(func(t *testing.T, a, b string, i, j uint64, n uint8) {
		one, two := cut(a, int(n%5)+1, i), cut(b, int(n%5)+1, j)
		if same := slices.Equal(one, two); same != (one.Key() == two.Key()) {
			t.Fatalf("%q and %q: keys %q and %q", one, two, one.Key(), two.Key())
		}
	})
}
