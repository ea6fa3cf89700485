package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite"
)

// Backup writes the catalog as it is at one moment to a new file, checks that one, and syncs it. Reads and changes go on meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error {
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		err = s.backup(ctx, path)
	}
	return s.fail(ctx, "back the catalog up to "+path, err)
}

func (s *Store) backup(ctx context.Context, path string) error {
	// A connection of its own: the writer must stay free, and the readers may not write anything, not even another file.
	db, err := connect(s.path, url.Values{"_pragma": {"trusted_schema(0)"}})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := makeNew(path); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, path); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return CheckFile(ctx, path)
}

// makeNew makes an empty file, which VACUUM INTO takes, that only its owner can read.
func makeNew(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// CheckFile reads a file that Backup has written, and that nobody writes to, and says what is wrong with it. It changes nothing.
func CheckFile(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: url.Values{"mode": {"ro"}, "immutable": {"1"}}.Encode()}
	c, err := driver.NewConnector(dsn.String())
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer func() { _ = db.Close() }()
	if err := check(ctx, db); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
