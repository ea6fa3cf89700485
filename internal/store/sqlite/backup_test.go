package sqlite_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
)

func TestABackupIsTheCatalogOfOneMomentAndOpensAsOne(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	put := func(slug string) {
		if _, err := s.Put(t.Context(), store.Put{Tenant: "t", Kind: store.KindMetric, Slug: slug, Body: []byte(`{"a": 1}`), At: time.Unix(5, 7)}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	path := filepath.Join(dir, "it's a copy.sqlite")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	put("after")
	if err := s.Backup(t.Context(), path); err == nil {
		t.Error("a file that was there was overwritten")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	copied, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = copied.Close() }()
	all, err := copied.List(t.Context(), "", store.KindMetric)
	if err != nil || len(all) != 1 || all[0].Slug != "before" || string(all[0].Body) != `{"a": 1}` || !all[0].CreatedAt.Equal(time.Unix(5, 7)) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestACopyThatIsDamagedIsFoundToBe(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	path := filepath.Join(dir, "copy.sqlite")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.CheckFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b[:4096:4096], bytes.Repeat([]byte{7}, len(b)-4096)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.CheckFile(t.Context(), path); err == nil {
		t.Error("nobody minds the damage")
	}
}
