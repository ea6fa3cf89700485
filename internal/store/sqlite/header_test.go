package sqlite

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFormatThatCannotBeWrittenIsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	for _, flip := range []struct {
		at, bit int
		damaged bool
	}{{18, 0, true}, {18, 7, true}, {19, 1, true}, {30, 0, false}} {
		b := make([]byte, 100)
		b[18], b[19] = 2, 2
		b[flip.at] ^= 1 << flip.bit
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if damage, err := versions(path); err != nil || (damage != nil) != flip.damaged {
			t.Errorf("bit %d of byte %d flipped: damage %v, %v", flip.bit, flip.at, damage, err)
		}
	}
}
