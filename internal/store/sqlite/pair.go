package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// madeAnew is the suffix of a file that is being made anew. One that is found is of an attempt that was cut short.
const madeAnew = ".new"

// open looks at both files, goes on with the one that has everything, and makes the other anew where it must.
func (s *Store) open(ctx context.Context) error {
	both, err := lookAtBoth(ctx, s.path, false)
	if err != nil {
		return err
	}
	c, err := choose(both)
	if err != nil {
		return err
	}
	path := both[c.use].path
	if s.reading {
		return s.openToRead(ctx, both[c.use])
	}
	for _, f := range both {
		_ = remove(f.path + madeAnew) // where it is in the way, renew says so
	}
	if err := makeFile(path); err != nil {
		return err
	}
	if s.first, err = openFile(ctx, path); err != nil {
		return err
	}
	migrated, err := migrate(ctx, s.first.writer, migrations, s.log)
	if err != nil {
		return err
	}
	if s.reader, err = openReader(ctx, path); err != nil {
		return err
	}
	if err := s.loadRevision(ctx); err != nil {
		return err
	}
	c.renew = c.renew || migrated
	// A catalog whose second file cannot be made now, on a full disk, can be read, and is changed when it can be.
	s.torn = s.accompany(ctx, c, both) != nil
	return nil
}

func (s *Store) openToRead(ctx context.Context, from state) (err error) {
	switch {
	case !from.here:
		return fs.ErrNotExist
	case from.version > len(migrations):
		return fmt.Errorf("%w (its schema is version %d, this one knows %d)", ErrNewer, from.version, len(migrations))
	}
	if s.reader, err = openReadOnly(from.path, from.immutable); err != nil {
		return err
	}
	return s.loadRevision(ctx)
}

// accompany opens the other file, made anew if the choice says so, and says what was found and done.
func (s *Store) accompany(ctx context.Context, c choice, both [2]state) error {
	other := both[1-c.use].path
	told := []slog.Attr{slog.String("file", other), slog.String("from", s.first.path)}
	if c.alone {
		err := both[1-c.use].unread
		s.log.LogAttrs(ctx, c.level, c.why, append(told, slog.String("error", err.Error()))...)
		return err
	}
	var err error
	if c.renew {
		var folder string
		if folder, err = s.renew(ctx, other, c.aside); folder != "" {
			told = append(told, slog.String("set_aside", folder))
		}
	}
	if err == nil {
		s.second, err = openFile(ctx, other)
	}
	if err != nil {
		told = append(told, slog.String("error", err.Error()))
		if c.why != "" {
			told = append(told, slog.String("found", c.why))
		}
		s.log.LogAttrs(ctx, slog.LevelError, "the catalog has one file only: until the other can be made, nothing in it can be changed", told...)
		return fmt.Errorf("make the second file of the catalog: %w", err)
	}
	if c.why != "" {
		s.log.LogAttrs(ctx, c.level, c.why+"; it was made anew", told...)
	}
	return nil
}

// renew makes the file at path anew from the first. Whatever it is cut short by, one of the two is there as a whole.
func (s *Store) renew(ctx context.Context, path string, aside bool) (folder string, err error) {
	made := path + madeAnew
	if err := remove(made); err != nil {
		return "", err
	}
	if err := s.copyTo(ctx, made); err != nil {
		return "", err
	}
	if aside {
		folder, err = setAside(path, s.now())
	} else {
		err = remove(path)
	}
	// SQLite would apply a write-ahead log that is left to the new file.
	if err = errors.Join(err, syncFolder(path)); err != nil {
		return folder, err
	}
	return folder, errors.Join(os.Rename(made, path), syncFolder(path))
}

// remove removes a file that is closed, and what is beside it.
func remove(path string) error {
	for _, suffix := range []string{"", "-shm", "-wal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// setAside moves a damaged file that is closed, and its log, into a folder of their own.
func setAside(path string, now time.Time) (folder string, err error) {
	folder = path + ".damaged-" + now.UTC().Format("20060102T150405.000")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	for _, suffix := range []string{"", "-shm", "-wal"} {
		err := os.Rename(path+suffix, filepath.Join(folder, filepath.Base(path)+suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return folder, err
		}
	}
	return folder, syncFolder(filepath.Join(folder, filepath.Base(path)))
}

// mend looks at both files again, while they are open and nobody writes, and puts right what is wrong.
func (s *Store) mend(ctx context.Context) error {
	s.torn = true
	both, err := lookAtBoth(ctx, s.path, true)
	if err != nil {
		return err
	}
	c, err := choose(both)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what follows must not be left half done because a caller has gone
	if !c.renew && !c.alone {
		c.use = s.index() // both are the same
	}
	if c.use != s.index() {
		if err := s.swap(ctx, both[c.use].path); err != nil {
			return fmt.Errorf("go on with the second file of the catalog: %w", err)
		}
	}
	if s.silent {
		if err := s.pass(ctx); err != nil {
			return fmt.Errorf("move the catalog's revision on: %w", err)
		}
		c.renew = true // the other lacks that
	}
	if c.alone {
		return s.accompany(ctx, c, both)
	}
	if s.second == nil || c.renew {
		if err := s.dropSecond(); err != nil {
			return err
		}
		if err := s.accompany(ctx, c, both); err != nil {
			return err
		}
	}
	if err := s.loadRevision(ctx); err != nil { // a change that failed may have moved it unheard
		return err
	}
	s.torn = false
	return nil
}

// swap goes on with the second file, at path, as the first.
func (s *Store) swap(ctx context.Context, path string) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	next := s.second
	if next == nil {
		var err error
		if next, err = openFile(ctx, path); err != nil {
			return err
		}
	}
	s.second = next // from now on disconnect closes it
	reader, err := openReader(ctx, next.path)
	if err != nil {
		return err
	}
	old := []*sql.DB{s.reader, s.first.writer}
	s.first, s.second, s.reader = next, nil, reader
	s.silent = true
	return closeAll(old...)
}

// pass moves the revision on past what was ever told: who has read what was damaged has to read it again, and the first file may not have
// the number of a change that the other had alone.
func (s *Store) pass(ctx context.Context) error {
	var revision int64
	_, _, err := s.first.write(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, passSQL, s.revision.Load()).Scan(&revision)
	})
	if err != nil {
		return err
	}
	s.moved(revision)
	s.silent = false
	return nil
}

// index says which of the two files is the first.
func (s *Store) index() int {
	if s.first.path == s.path {
		return 0
	}
	return 1
}

func (s *Store) dropSecond() error {
	second := s.second
	s.second = nil
	if second == nil {
		return nil
	}
	return second.writer.Close()
}

func closeAll(all ...*sql.DB) error {
	var errs []error
	for _, db := range all {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// doubt has the files looked at soon.
func (s *Store) doubt() {
	select {
	case s.doubted <- struct{}{}:
	default:
	}
}

// watch looks at the files now and then, and when there is a doubt.
func (s *Store) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.doubted:
		}
		if err := s.Check(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "the catalog could not be checked", slog.String("error", err.Error()))
		}
	}
}

// Check reads both files whole and mends what it finds. Changes wait meanwhile, reads do not.
func (s *Store) Check(ctx context.Context) error {
	leave, err := s.turn(ctx)
	if err == nil {
		defer leave()
		err = s.mend(ctx)
	}
	return s.fail(ctx, "check the catalog", err)
}
