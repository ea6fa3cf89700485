package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/pulsestream/pulsestream/internal/store"
)

var (
	// ErrDamaged means: what a file of the catalog has is not what was written. From Open it means that both are so, and nothing was changed.
	ErrDamaged = errors.New("the catalog is damaged")
	errReading = errors.New("the catalog was opened for reading only")
	// ErrNewer means: the file's schema is of a newer version. Nothing was changed.
	ErrNewer = errors.New("the catalog was written by a newer version of PulseStream: run that version, or restore a backup from before it")
)

// fail names the operation that failed and turns what SQLite says into the seam's sentinels. It passes nil through.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(err, store.ErrClosed) {
		return fmt.Errorf("%s: %w", op, context.Cause(ctx)) // what an interrupted statement says is of no use
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	var e *driver.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch e.Code() & 0xff { // the rest tells variants of it apart
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		s.doubt()
		return fmt.Errorf("%s: %w (%w)", op, ErrDamaged, err)
	case codes.SQLITE_FULL:
		return fmt.Errorf("%s: the disk is full, free some space: %w", op, err)
	case codes.SQLITE_BUSY:
		return fmt.Errorf("%s: another process uses the catalog, end it: %w", op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// taken says whether err is a breach of uniqueness.
func taken(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code() == codes.SQLITE_CONSTRAINT_UNIQUE
}
