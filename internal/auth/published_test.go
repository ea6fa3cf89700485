package auth

import (
	"os"
	"strings"
	"testing"
)

// TestThePatternOfKeysIsPublishedAndSearchedFor: by those who look for leaked keys, and by our own lint.
func TestThePatternOfKeysIsPublishedAndSearchedFor(t *testing.T) {
	for _, path := range []string{"../../docs/security.md", "../../.gitleaks.toml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), strings.Trim(KeyPattern, "^$")) {
			t.Errorf("%s does not have the pattern %s", path, KeyPattern)
		}
	}
}
