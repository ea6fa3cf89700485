package backup_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/store"
)

// flips are bits of a file to try: those of its ends, and some of everything between.
func flips(size int, random *rand.Rand) []int {
	var bits []int
	for i := range min(size, 16) * 8 {
		bits = append(bits, i, size*8-1-i)
	}
	for range 100 {
		bits = append(bits, random.IntN(size*8))
	}
	return bits
}

func TestOneFlippedBitInAnyFileOfABackupIsFound(t *testing.T) {
	to := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	s := openStores(t, filepath.Join(t.TempDir(), "data"), 1, 20)
	s.tenant("default")
	s.commit(store.Commit{Events: charges(7, 400, random), Transitions: []alert.Transition{transition("t1", "open", alert.PhaseFiring, 7)},
		Quarantine: []store.Quarantined{{QuarantineKey: store.QuarantineKey{Tenant: "default", ID: "q"}, Stage: "decode", Reason: "why", Raw: []byte("raw")}}}, 20)
	if _, err := backup.Run(t.Context(), s.source(), to, nil); err != nil {
		t.Fatal(err)
	}
	kinds := 0
	for name, content := range contents(t, to) {
		path := filepath.Join(to, name)
		b := []byte(content)
		if len(b) == 0 {
			t.Fatalf("%s is empty: there is nothing to flip", name)
		}
		kinds++
		bits := flips(len(b), random)
		if name == "manifest.json" {
			bits = nil
			for i := range b {
				bits = append(bits, i*8+random.IntN(8))
			}
		}
		for _, bit := range bits {
			flipped := slices.Clone(b)
			flipped[bit/8] ^= 1 << (bit % 8)
			write(t, path, flipped)
			if _, err := backup.Verify(t.Context(), to, nil); err == nil {
				t.Fatalf("bit %d of %s is flipped, and nobody minds", bit, name)
			} else if name != "manifest.json" && (!errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), name)) {
				t.Fatalf("bit %d of %s: %v", bit, name, err)
			}
		}
		for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
			write(t, path, b[:n])
			if _, err := backup.Verify(t.Context(), to, nil); err == nil {
				t.Fatalf("%s is cut off at %d of %d bytes, and nobody minds", name, n, len(b))
			}
		}
		write(t, path, append(slices.Clone(b), '\n'))
		if _, err := backup.Restore(t.Context(), to, target(filepath.Join(t.TempDir(), "x")), nil); err == nil {
			t.Fatalf("%s is longer than it was, and nobody minds", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Verify(t.Context(), to, nil); err == nil {
			t.Fatalf("%s is missing, and nobody minds", name)
		}
		write(t, path, b)
	}
	if _, err := backup.Verify(t.Context(), to, nil); err != nil || kinds != 5 {
		t.Errorf("as it was: %v; %d kinds of files were tried, want 5", err, kinds)
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestABackupThatIsBrokenOffAtAnyStepLeavesTheOneBefore(t *testing.T) {
	dir, to := made(t, 100), t.TempDir()
	before := makeBackup(t, dir, to).Manifest
	s := serve(t, dir)
	s.send(100, 200)
	s.drain(200)
	s.stop()
	crash := errors.New("crash")
	var steps []string
	for n := 0; ; n++ {
		kept := contents(t, to)
		i := 0
		var at string
		_, err := backup.MakeWithSteps(t.Context(), settings(dir, to), func(name string) error {
			i++
			if i <= n {
				return nil
			}
			at = name
			return crash
		})
		if err == nil {
			break
		}
		steps = append(steps, at)
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
		m, err := backup.Verify(t.Context(), to, nil)
		if err != nil {
			t.Fatalf("broken off at %s: %v", at, err)
		}
		if at != "sweep" && m.SHA256 != before.SHA256 {
			t.Fatalf("broken off at %s, the backup is another", at)
		}
		for _, f := range append(slices.Clone(before.Events), backup.EventFile{File: backup.File{Path: "manifest.json"}}) {
			if at != "sweep" && contents(t, to)[f.Path] != kept[f.Path] {
				t.Fatalf("broken off at %s, %s is another", at, f.Path)
			}
		}
		before = *m
	}
	if len(steps) < 7 {
		t.Errorf("it was broken off at %v only", steps)
	}
	fresh := filepath.Join(t.TempDir(), "new")
	if r, err := backup.Restore(t.Context(), to, target(fresh), nil); err != nil || r.Events != 200 {
		t.Fatal(r, err)
	}
	m, err := backup.Load(to)
	if err != nil {
		t.Fatal(err)
	}
	if left := len(contents(t, to)); left != len(m.Events)+5 {
		t.Errorf("%d files are left, %d are of the backup", left, len(m.Events)+5)
	}
	sound(t, fresh)
}

func TestAManifestThatIsDamagedInAnyWayIsRefused(t *testing.T) {
	to := t.TempDir()
	makeBackup(t, made(t, 10), to)
	path := filepath.Join(to, "manifest.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) string{
		"empty":                  func(string) string { return "" },
		"no JSON":                func(string) string { return "nonsense" },
		"a newer format":         func(s string) string { return strings.Replace(s, `"format": 2`, `"format": 3`, 1) },
		"another spelling":       func(s string) string { return strings.Replace(s, `"program"`, `"Program"`, 1) },
		"another field":          func(s string) string { return strings.Replace(s, `"program"`, `"x": 1, "program"`, 1) },
		"another number":         func(s string) string { return strings.Replace(s, `"number": 1`, `"number": 2`, 1) },
		"a file out of bounds":   func(s string) string { return strings.Replace(s, `"catalog-000001.sqlite"`, `"../catalog.sqlite"`, 1) },
		"white space at the end": func(s string) string { return s + " " },
	} {
		write(t, path, []byte(change(string(b))))
		if m, err := backup.Load(to); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
	write(t, path, b)
	if _, err := backup.Load(to); err != nil {
		t.Error(fmt.Errorf("as it was: %w", err))
	}
}
