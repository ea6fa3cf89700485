package backup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/vault"
)

const given = "5fQ2m1rXc0T8bVvYw7uZk3N9pL4sD6gHjKaEoRiUyTQ="

// sourceBody is the body of a source as it stands in the catalog of a data directory.
func sourceBody(t *testing.T, dir string) []byte {
	t.Helper()
	c, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "catalog.sqlite"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Get(t.Context(), "default", store.KindSource, "code")
	if err != nil {
		t.Fatal(err)
	}
	return r.Body
}

// restored restores a backup into a new directory.
func restored(t *testing.T, from string) (*backup.Restored, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	r, err := backup.Restore(t.Context(), from, target(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func TestTheMasterKeyThatAServerHasMadeIsInItsBackupAndOneThatWasGivenIsNot(t *testing.T) {
	dir, own, others := filepath.Join(t.TempDir(), "data"), t.TempDir(), t.TempDir()
	s := serve(t, dir)
	if _, err := s.PutSource(t.Context(), "code", "github", "a-secret-of-the-vendor"); err != nil {
		t.Fatal(err)
	}
	makeBackup(t, dir, own) // running
	s.stop()
	second := makeBackup(t, dir, own) // stopped
	if second.Manifest.SecretsKey == nil || !bytes.HasPrefix(sourceBody(t, dir), []byte("sealed:")) {
		t.Fatalf("%+v, %s", second.Manifest, sourceBody(t, dir))
	}
	r, fresh := restored(t, own)
	if info, err := os.Stat(filepath.Join(fresh, vault.OwnFile)); err != nil || info.Mode().Perm() != 0o600 || r.KeyNeeded {
		t.Errorf("%v, %v, needs a key: %v", info, err, r.KeyNeeded)
	}
	again := serve(t, fresh)
	if sources, err := again.Sources(t.Context()); err != nil || len(sources) != 1 {
		t.Errorf("the restored server has %v, %v", sources, err)
	}
	again.stop()

	// The same server is given a key: what it made itself is of no use any more.
	if err := startGiven(t, dir, given); err != nil {
		t.Fatal(err)
	}
	third := makeBackup(t, dir, others)
	if third.Manifest.SecretsKey != nil {
		t.Errorf("a key is in the backup: %+v", third.Manifest.SecretsKey)
	}
	for name, text := range contents(t, others) {
		if bytes.Contains([]byte(text), []byte(given)) {
			t.Errorf("%s has the key that was given", name)
		}
	}
	r, fresh = restored(t, others)
	if !r.KeyNeeded {
		t.Error("nothing is said of the key")
	}
	if err := start(t, fresh); err == nil {
		t.Error("it starts without the key")
	}
	if err := startGiven(t, fresh, given); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(fresh, vault.OwnFile)); err == nil {
		t.Error("the restored directory has a key")
	}
	// A backup with the key it had itself still restores.
	_, fresh = restored(t, own)
	if err := start(t, fresh); err != nil {
		t.Error(err)
	}
}

// startGiven says why a server with a master key does not start.
func startGiven(t *testing.T, dir, master string) error {
	a, err := openWith(t, dir, config.Secrets{SecretsKey: master})
	if err == nil {
		err = a.Stop(t.Context())
	}
	return err
}
