package signin

import (
	"strings"
	"testing"
)

// TestAPasswordIsKeptAsItMayBe: by argon2id, at no less than OWASP's least, with a salt of its own; a stored hash that asks for too much is refused.
func TestAPasswordIsKeptAsItMayBe(t *testing.T) {
	h := newHasher()
	const password = "four words are enough"
	one, err := h.hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") || one == two || strings.Contains(one, password) || saltBytes < 16 || hashBytes < 32 {
		t.Errorf("%s, %s", one, two)
	}
	for stored, want := range map[string]bool{one: true, two: true, strings.Replace(one, "t=2", "t=1", 1): false, "": false} {
		if got, err := h.matches(t.Context(), stored, password); got != want || err != nil {
			t.Errorf("%q: %v, %v", stored, got, err)
		}
	}
	for _, stored := range []string{strings.Replace(one, "m=19456", "m=4194304", 1), strings.Replace(one, "t=2", "t=1000", 1), strings.Replace(one, "argon2id", "argon2i", 1), "plain"} {
		if got, err := h.matches(t.Context(), stored, password); got || err == nil {
			t.Errorf("%q: %v, %v", stored, got, err)
		}
	}
}
