package sqlite

import (
	"context"
	"errors"
	"net/url"
	"os"
)

// Backup writes the catalog as it is at one moment to a new file, checks that one, and syncs it. Reads and changes go on meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error {
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		if err = errReading; !s.reading {
			err = s.backup(ctx, path)
		}
	}
	return s.fail(ctx, "back the catalog up to "+path, err)
}

func (s *Store) backup(ctx context.Context, path string) error {
	if err := s.copyTo(ctx, path); err != nil {
		return err
	}
	if err := CheckFile(ctx, path); err != nil {
		s.doubt() // what was copied is damaged
		return err
	}
	return nil
}

// copyTo writes what the first file has to a new file, and syncs that. The log of changes is no part of it.
func (s *Store) copyTo(ctx context.Context, path string) error {
	// A connection of its own: the writer must stay free, and the readers may not write anything, not even another file.
	db, err := connect(s.first.path, url.Values{"_pragma": {"trusted_schema(0)"}}, nil)
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
	return errors.Join(f.Sync(), f.Close())
}

// makeNew makes an empty file, which VACUUM INTO takes, that only its owner can read.
func makeNew(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
