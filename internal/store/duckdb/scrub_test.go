package duckdb_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
)

func TestScrubbingFindsAFlippedBitInEveryBlockInUse(t *testing.T) {
	const block = 256 << 10
	dir := t.TempDir()
	s := open(t, dir, asItIs)
	l := newLoad()
	random := rand.NewChaCha8([32]byte{})
	for range 10 {
		c := l.commit(500, 4_000)
		for i := range 400 {
			raw := make([]byte, 2000)
			_, _ = random.Read(raw)
			c.Quarantine = append(c.Quarantine, store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: "default", ID: fmt.Sprint(l.n, i)}, Stage: "decode", Raw: raw, At: l.clock})
		}
		l.commits(t, s, c)
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatalf("a store that is whole: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "events.duckdb")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found, missed := 0, 0
	for at := 3*4096 + block/3; at < len(whole); at += block {
		whole[at] ^= 8
		if scrubbed(t, dir, whole) {
			found++
		} else {
			missed++ // the block is a free one
		}
		whole[at] ^= 8
	}
	if found < 4 || missed > found/2 {
		t.Errorf("%d blocks found damaged, %d were free; the file has %d bytes", found, missed, len(whole))
	}
}

// scrubbed says whether a store whose DuckDB file is changed is found to be damaged when it is opened or scrubbed.
func scrubbed(t *testing.T, dir string, raw []byte) bool {
	t.Helper()
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(damaged, "events.duckdb")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := duckdb.Open(t.Context(), duckdb.Config{Path: path, CompactEvery: -1})
	if err == nil {
		defer s.Close()
		err = s.Scrub(t.Context())
	}
	switch {
	case errors.Is(err, store.ErrDamaged):
		return true
	case err != nil:
		t.Errorf("%v, want ErrDamaged", err)
	case reads(t, s) != nil:
		t.Error("the store cannot be read, and scrubbing has not found out")
	}
	return false
}

func reads(t *testing.T, s *duckdb.Store) error {
	t.Helper()
	err := s.Scan(t.Context(), "default", store.Scan{}, func(*event.Stored) error { return nil })
	for _, step := range series.Resolutions() {
		for metric := range int64(20) {
			failed := s.Rollups(t.Context(), "default", store.RollupQuery{Metric: metric, Step: step}, func(*series.Rollup) error { return nil })
			err = errors.Join(err, failed)
		}
	}
	if _, failed := s.Quarantined(t.Context(), "default", store.QuarantineQuery{}); failed != nil {
		err = errors.Join(err, failed)
	}
	return err
}

func TestScrubbingFindsAFlippedBitAnywhereInASealedFile(t *testing.T) {
	for _, suffix := range []string{".seg", ".rol"} {
		t.Run(suffix, func(t *testing.T) { flipAll(t, suffix) })
	}
}

func flipAll(t *testing.T, suffix string) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, asItIs)
	l := newLoad()
	for range 3 {
		l.into(t, s, 700, 300)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	all, err := filepath.Glob(filepath.Join(dir, "events.duckdb.segments", "*"+suffix))
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	f, err := os.OpenFile(all[1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := os.ReadFile(all[1])
	if err != nil {
		t.Fatal(err)
	}
	write := func(at int, b byte) {
		if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for at := 8; at < len(raw); at += len(raw)/40 + 1 {
		write(at, raw[at]^8)
		if err := s.Scrub(t.Context()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("byte %d of %d: %v", at, len(raw), err)
		}
		write(at, raw[at])
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Errorf("all is well again: %v", err)
	}
}
