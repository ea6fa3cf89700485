package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// How the files of a catalog were left.
const (
	stopped = "stopped"
	killed  = "killed"
	folded  = "killed after the logs were folded in" // which recovery lays over the files once more
)

// furnished makes a small catalog that has some of everything, and returns its files as they are left.
func furnished(t *testing.T, left string) map[string][]byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	s := opened(t, path)
	at := time.Unix(1_800_000_000, 0)
	for i := range 6 {
		for _, k := range []store.Kind{store.KindMetric, store.KindRule} {
			put := store.Put{Tenant: "acme", Kind: k, Slug: fmt.Sprintf("s-%d", i), Lookup: fmt.Sprintf("l-%d", i), Body: []byte(`{"name":"a name"}`), At: at}
			if _, err := s.Put(t.Context(), put); err != nil {
				t.Fatal(err)
			}
		}
		job := store.Job{ID: fmt.Sprint(i), Tenant: "acme", Channel: "c", Incident: "i", Payload: []byte(`{}`), CreatedAt: at, Error: "with a \x00 in it"}
		if err := s.Enqueue(t.Context(), "tail", uint64(i), []store.Job{job}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "s-3"}); err != nil {
		t.Fatal(err)
	}
	switch left {
	case stopped:
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	case folded:
		for _, f := range []*file{s.first, s.second} {
			if _, err := f.writer.ExecContext(t.Context(), "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files(t, path)
}

// files are those of a catalog, by name, but for what SQLite shares between processes.
func files(t *testing.T, path string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, f := range Files(path) {
		if b, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "-shm") {
			found[filepath.Base(f)] = b
		}
	}
	return found
}

func lay(t *testing.T, dir string, files map[string][]byte) (path string) {
	t.Helper()
	path = filepath.Join(dir, "catalog.sqlite")
	for _, f := range Files(path) {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// content is all that can be asked of a catalog, as text.
func content(ctx context.Context, s *Store) (string, error) {
	var b strings.Builder
	for _, k := range []store.Kind{store.KindMetric, store.KindRule, store.KindKey} {
		list, err := s.List(ctx, "", k)
		if err != nil {
			return "", err
		}
		for _, r := range list {
			one, err := s.Get(ctx, r.Tenant, r.Kind, r.Slug)
			found, err2 := s.Find(ctx, r.Kind, r.Lookup)
			fmt.Fprintf(&b, "%+v\n%+v\n%+v\n", r, one, found)
			if err := errors.Join(err, err2); err != nil {
				return "", err
			}
		}
	}
	for _, incident := range []string{"", "i"} {
		jobs, err := s.Jobs(ctx, "acme", incident, 0)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%+v\n", jobs)
	}
	position, err := s.Position(ctx, "tail")
	if err != nil {
		return "", err
	}
	revision, err := s.Revision(ctx)
	fmt.Fprintln(&b, position, revision)
	return b.String(), err
}

// spoilt gives every damage to one file: a bit of each step-th byte flipped, and cut off at each step-th multiple of ten.
func spoilt(b []byte, step int, each func(what string, harmed []byte)) {
	for i := 0; i < len(b); i += step {
		harmed := bytes.Clone(b)
		harmed[i] ^= 1 << (i / step % 8)
		each(fmt.Sprintf("bit %d of byte %d of %d", i/step%8, i, len(b)), harmed)
	}
	for i := 0; i < len(b); i += 10 * step {
		each(fmt.Sprintf("cut off at %d of %d", i, len(b)), b[:i])
	}
}

func TestDamageOfAnyPlaceIsFoundOrHarmless(t *testing.T) {
	every, _ := strconv.Atoi(os.Getenv("PULSESTREAM_TEST_STEP")) // 7: each 7th byte, which takes half an hour
	for _, left := range []string{stopped, killed, folded} {
		whole := furnished(t, left)
		for name := range whole {
			for _, alone := range []bool{false, true} {
				if alone && name != "catalog.sqlite" || alone && left != stopped { // without a copy a log that was cut cannot be told
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/alone=%v", left, name, alone), func(t *testing.T) {
					step := cmp.Or(every, len(whole[name])/80|1)
					found, harmless := anyDamage(t, whole, name, alone, step)
					t.Logf("%d found, %d harmless", found, harmless)
					if found == 0 {
						t.Error("no damage was found at all")
					}
				})
			}
		}
	}
}

// anyDamage opens a catalog with every damage to one of its files. It must be as it was, or, when the file is alone, be refused.
func anyDamage(t *testing.T, whole map[string][]byte, name string, alone bool, step int) (found, harmless int) {
	dir := t.TempDir()
	files := map[string][]byte{}
	for n, b := range whole {
		if !alone || n == name {
			files[n] = b
		}
	}
	want := contentOf(t, lay(t, dir, files))
	spoilt(whole[name], step, func(what string, harmed []byte) {
		files[name] = harmed
		path := lay(t, dir, files)
		both, err := lookAtBoth(t.Context(), path, false)
		if err := errors.Join(err, both[0].unread, both[1].unread); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		c, err := choose(both)
		if alone && err != nil {
			found++
			return
		}
		if err != nil {
			t.Errorf("%s: refused: %v", what, err)
			return
		}
		if got := contentOf(t, path); got != want && !(alone && len(harmed) == 0) {
			t.Errorf("%s: went by in silence (%+v):\n%s\nwas\n%s", what, both, got, want)
		}
		if c.why != "" && !alone {
			found++
		} else {
			harmless++
		}
	})
	return found, harmless
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
	if err != nil {
		return err.Error()
	}
	defer func() { _ = s.Close() }()
	got, err := content(t.Context(), s)
	if err != nil {
		return err.Error()
	}
	return got
}

func TestADamagedFileIsSetAsideAndMadeAnewFromTheOther(t *testing.T) {
	for _, left := range []string{stopped, killed, folded} {
		whole := furnished(t, left)
		want := contentOf(t, lay(t, t.TempDir(), whole))
		for name, b := range whole {
			spoilt(b, len(b)/9, func(what string, harmed []byte) {
				dir, log := t.TempDir(), &bytes.Buffer{}
				path := lay(t, dir, whole)
				if err := os.WriteFile(filepath.Join(dir, name), harmed, 0o600); err != nil {
					t.Fatal(err)
				}
				before, _ := lookAtBoth(t.Context(), path, false)
				c, _ := choose(before)
				s, err := Open(t.Context(), Config{Path: path, Log: slog.New(slog.NewTextHandler(log, nil))})
				if err != nil {
					t.Fatalf("%s: %s: %v", name, what, err)
				}
				if got, err := content(t.Context(), s); err != nil || got != want {
					t.Errorf("%s: %s: %v\n%s\nwas\n%s", name, what, err, got, want)
				}
				if lines := strings.Count(log.String(), "\n"); (lines == 1) != (c.why != "") {
					t.Errorf("%s: %s: found %q, and the log says %q", name, what, c.why, log)
				}
				aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*", "*"))
				if (len(aside) > 0) != c.aside {
					t.Errorf("%s: %s: set aside: %v, want %v", name, what, aside, c.aside)
				}
				for _, change := range []string{"first", "second"} {
					if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: change}); err != nil {
						t.Error(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				same(t, path)
			})
		}
	}
}

// same looks whether both files of a closed catalog are whole and have the same content.
func same(t *testing.T, path string) {
	t.Helper()
	both, err := lookAtBoth(t.Context(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	a, b := both[0], both[1]
	if !a.here || !b.here || a.damage != nil || b.damage != nil || a.unread != nil || b.unread != nil || a.commits != b.commits || a.sum != b.sum {
		t.Errorf("the files are not the same: %+v", both)
	}
}
