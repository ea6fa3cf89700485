package duckdb

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
)

// engineError is what DuckDB says went wrong.
type engineError struct{ message string }

func (e *engineError) Error() string { return "duckdb: " + strings.TrimSpace(e.message) }

// Unwrap tells what a caller can do about it: ErrDamaged for what DuckDB says of a block whose checksum is wrong, which may turn up
// long after the file was opened, ErrBroken after a fault of the disk, ErrFull when there was no room, ErrRefused for data that it will never take.
func (e *engineError) Unwrap() error {
	for _, sign := range []struct {
		text string
		is   error
	}{
		{"Corrupt database file", store.ErrDamaged}, {"computed checksum", store.ErrDamaged},
		// What the operating system said comes before what DuckDB made of it: a commit that failed for want of room on the disk is
		// an "Invalid Input Error", and no fault of the events in it.
		{"database has been invalidated", store.ErrBroken}, {"FATAL Error", store.ErrBroken}, {"INTERNAL Error", store.ErrBroken},
		{"No space left on device", store.ErrFull}, {"Disk quota exceeded", store.ErrFull},
		{"Input/output error", store.ErrBroken}, {"Read-only file system", store.ErrBroken}, {"Could not write file", store.ErrBroken},
		{"IO Error", store.ErrBroken},
		{"Constraint Error", store.ErrRefused}, {"Conversion Error", store.ErrRefused},
		{"Invalid Input Error", store.ErrRefused}, {"Out of Range Error", store.ErrRefused},
	} {
		if strings.Contains(e.message, sign.text) {
			return sign.is
		}
	}
	return nil
}

// openError tells damage from all else that keeps a file from being opened. DuckDB has no error code for damage, so what is known
// to be something else is taken out, and the rest is damage: the file is ours, and nothing else goes wrong with it.
func openError(path string, err error) error {
	var e *engineError
	switch {
	case !errors.As(err, &e):
		return err
	case strings.Contains(e.message, "Could not set lock"), strings.Contains(e.message, "Conflicting lock"):
		return fmt.Errorf("%s is in use by another process: stop that one first, a DuckDB file has one owner: %w", path, err)
	case strings.Contains(e.message, "newer version"), strings.Contains(e.message, "newer DuckDB version"):
		return fmt.Errorf("%s: %w", path, errors.Join(errNewer, err))
	case strings.Contains(e.message, "Out of Memory"), strings.Contains(e.message, "No space left"), strings.Contains(e.message, "Cannot allocate"),
		strings.Contains(e.message, "different configuration"):
		return fmt.Errorf("cannot open %s: %w", path, err)
	}
	return fmt.Errorf("%s cannot be opened: %w: %w", path, store.ErrDamaged, err)
}

// accessible says what the operating system has against reading and writing the file and its log.
func accessible(path string) error {
	for _, name := range []string{path, path + ".wal"} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot open the events store: %w", err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
