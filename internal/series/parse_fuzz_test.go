package series

import "testing"

// FuzzParseDuration: whatever is taken can be written and read again without becoming another duration.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1h30m", "7d", "1.5d", "-1w", "1e3d", "NaNd", "Infw", "0x1p4d", "9223372036854775807ns", "106751.99d", "+5m", "5 m", "", "d", "٣d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q is %d, written %s and read %d, %v", s, d, d, again, err)
		}
	})
}

func FuzzParseKind(f *testing.F) {
	f.Add("p99")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKind(s); err == nil && string(k) != s {
			t.Fatalf("%q is %s", s, k)
		}
	})
}
