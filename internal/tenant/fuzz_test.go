package tenant

import (
	"net/url"
	"path/filepath"
	"testing"
)

// FuzzCheckSlug: a slug is the same in a URL, in a file's name and in a path.
func FuzzCheckSlug(f *testing.F) {
	for _, s := range []string{"default", "a\n", "..", "-a", "a/b", "A", "aé", ""} {
		f.Add(s, 4)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		if CheckSlug(s) == nil && (url.PathEscape(s) != s || url.QueryEscape(s) != s || filepath.Clean(s) != s || !filepath.IsLocal(s) || len(s) > 63) {
			t.Fatalf("%q is a slug", s)
		}
		if n > 0 && n < 1<<20 {
			if p := Partition(ID(s), n); p < 0 || p >= n || p != Partition(ID(s), n) {
				t.Fatalf("%q is in partition %d of %d", s, p, n)
			}
		}
	})
}
