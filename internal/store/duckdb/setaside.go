package duckdb

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// SetAside moves the file of a closed store, its segments and the log beside it out of the way, into a folder of their own, and returns the
// folder. Nothing is deleted: whoever looks into it later decides.
func SetAside(path string, now time.Time) (string, error) {
	folder := path + ".damaged-" + now.UTC().Format("20060102T150405.000")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("set the damaged store aside: %w", err)
	}
	for _, suffix := range []string{"", segmentsSuffix, ".wal", ".wal.checkpoint", ".wal.recovery"} {
		err := os.Rename(path+suffix, folder+"/events.duckdb"+suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("set the damaged store aside: %w", err)
		}
	}
	return folder, nil
}
