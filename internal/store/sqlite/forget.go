package sqlite

import (
	"context"
	"errors"
	"net/url"
)

// Forget removes from the files what was deleted or overwritten before: from the pages that are free, and from the logs. What has been deleted or overwritten
// since this version writes the files is zeroed in them at once, and gone from the logs when they are folded in.
func (s *Store) Forget(ctx context.Context) error {
	leave, err := s.turn(ctx)
	if err == nil {
		defer leave()
		err = s.forgetIn(ctx, s.first)
		if s.second != nil {
			err = errors.Join(err, s.forgetIn(ctx, s.second))
		}
	}
	return s.fail(ctx, "remove what was overwritten from the catalog's files", err)
}

// forgetIn makes a file anew within itself. It does so on a connection of its own, since it changes no row; Forget has the turn, so nobody writes.
func (s *Store) forgetIn(ctx context.Context, f *file) error {
	db, err := connect(f.path, url.Values{"_pragma": {"fullfsync(1)", "checkpoint_fullfsync(1)", "trusted_schema(0)", "secure_delete(1)"}}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, `VACUUM`); err != nil {
		return err
	}
	var busy, log, moved int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("readers keep the log from being emptied") // it is tried again
	}
	return nil
}
