package bus

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHalfADescriptionOfAStreamThatNeverBeganIsTakenAway(t *testing.T) {
	for _, name := range []string{metaFile, metaSum} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		mended, err := settleMeta(dir, streamName(0), "a", nil)
		if err != nil || mended != "" {
			t.Errorf("only %s is there: mended %q, %v; that is a first start cut short", name, mended, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left is %v (%v): JetStream would not make the description anew", left, err)
		}
	}
}
