package auth

import (
	"strings"
	"testing"
)

// FuzzKeyID: what is taken for a key is put together from its id and secret, and holds nothing that must be quoted in a header, a file or a shell.
func FuzzKeyID(f *testing.F) {
	full, _ := NewKey()
	for _, s := range []string{full, "ps_a_b", "ps__x", "ps_A_b", "ps_a_b\n", "ps_a_" + strings.Repeat("x", 5000), "ps_a_b_c", "Ps_a_b", " ps_a_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := KeyID(s)
		if !ok {
			return
		}
		secret, found := strings.CutPrefix(s, "ps_"+id+"_")
		if !found || secret == "" || id == "" || len(id) > 63 || JoinKey(id, secret) != s {
			t.Fatalf("%q has the id %q and the secret %q", s, id, secret)
		}
		for _, c := range s {
			if c <= ' ' || c > '~' || strings.ContainsRune("\"'`\\$&|;<>()*?[]#~%,", c) {
				t.Fatalf("%q is taken for a key", s)
			}
		}
		if len(Lookup(s)) != 64 {
			t.Fatalf("%q is looked up as %q", s, Lookup(s))
		}
	})
}
