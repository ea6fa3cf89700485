package resilient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readMarker reads what a replaced store's marker says, nil if there is none.
func readMarker(path string) (*Rebuild, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no store was replaced
	}
	if err != nil {
		return nil, fmt.Errorf("is the store of events being rebuilt: %w", err)
	}
	r := &Rebuild{}
	if json.Unmarshal(b, r) != nil {
		r.Reason = "it was found damaged" // the marker is there, and that is what counts
	}
	return r, nil
}

// writeMarker puts it on disk.
func writeMarker(path string, r *Rebuild) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("note that the store of events is rebuilt: %w", err)
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(path))
}

func removeMarker(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(path)
}

func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
