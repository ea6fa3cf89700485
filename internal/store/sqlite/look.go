package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// state is what a look at one of the two files has found.
type state struct {
	path    string
	here    bool   // there is something in it: tables, or what is damaged
	damage  error  // what is wrong with it; nil: it is whole
	unread  error  // why it could not be read; then the rest says nothing
	version int    // of its schema
	commits int64  // how many transactions it has seen; 0: it is from before they were counted
	sum     uint64 // of its content
	// immutable: it has no log, and is not open. SQLite need not make one.
	immutable bool
}

// look reads a whole file and changes nothing of it. Its error means that it could not be read at this moment, which says nothing about
// its content. Used says that connections to it are open.
func look(ctx context.Context, path string, used bool) (state, error) {
	s := state{path: path}
	size, err := sizeOf(path)
	if err != nil {
		return s, err
	}
	wal, err := sizeOf(path + "-wal")
	if err != nil {
		return s, err
	}
	s.here = size > 0 || wal > 0
	s.immutable = wal == 0 && !used
	if size == 0 {
		if wal > 0 { // SQLite would begin anew, and delete the log
			s.damage = errors.New("it is missing or empty, but the write-ahead log beside it is not")
		}
		return s, nil
	}
	if s.damage, err = versions(path); err != nil || s.damage != nil {
		return s, err
	}
	err = s.read(ctx)
	if err = s.judge(ctx, err); err != nil {
		return s, fmt.Errorf("look through %s: %w", path, err)
	}
	return s, nil
}

// versions looks at the two bytes of the header that say which format it takes to write and to read the file. A format that SQLite does not know is
// no damage to it: it then refuses to write.
func versions(path string) (damage, err error) {
	const at = 18
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var b [2]byte
	if _, err := f.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if err != nil {
		return nil, nil // shorter than a header: SQLite says so
	}
	for i, v := range b {
		if v != 1 && v != 2 {
			return fmt.Errorf("byte %d of its header is %d", at+i, v), nil
		}
	}
	return nil, nil
}

func openReadOnly(path string, immutable bool) (*sql.DB, error) {
	q := url.Values{"mode": {"ro"}, "_query_only": {"1"}, "_error_rc": {"1"}, "_busy_timeout": {"10000"}, "_pragma": {"trusted_schema(0)"}}
	if immutable {
		q.Set("immutable", "1")
	}
	return openDB(path, q, nil)
}

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// read finds out all about the file, in one read transaction.
func (s *state) read(ctx context.Context) error {
	db, err := openReadOnly(s.path, s.immutable)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if s.damage, err = structure(ctx, tx); err != nil || s.damage != nil {
		return err
	}
	var tables, sealed int
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(name = 'integrity'), 0) FROM sqlite_schema WHERE type = 'table'`).Scan(&tables, &sealed)
	if err != nil || tables == 0 {
		s.here = s.here && err != nil // a first start that was cut short
		return err
	}
	if err := tx.QueryRowContext(ctx, versionSQL).Scan(&s.version); err != nil {
		return err
	}
	if s.sum, err = contentSum(ctx, tx, s.version); err != nil || sealed == 0 && s.version < sealedSince {
		return err
	}
	var checksum int64
	if err := tx.QueryRowContext(ctx, integritySQL).Scan(&s.commits, &checksum); err != nil {
		return err
	}
	if unseal(s.commits, checksum) != s.sum {
		s.damage = errors.New("its checksum is not that of its rows")
	}
	return nil
}

// structure has SQLite look through all pages, and compare the indexes with the rows.
func structure(ctx context.Context, q querier) (damage, err error) {
	var found []error
	err = eachRow(ctx, q, "PRAGMA integrity_check(3)", func(values []any) {
		if s := fmt.Sprint(values[0]); s != "ok" {
			found = append(found, errors.New(s))
		}
	})
	return errors.Join(found...), err
}

// judge tells what is wrong with a file from what is wrong with the machine, or isn't known, which it returns.
func (s *state) judge(ctx context.Context, err error) error {
	var e *driver.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, sql.ErrNoRows):
		s.damage = errors.New("its row of checksums is missing")
		return nil
	case errors.As(err, &e) && ofTheFile(e.Code()):
		s.damage = err
		return nil
	}
	return err
}

func ofTheFile(code int) bool {
	switch code {
	case codes.SQLITE_IOERR_SHORT_READ, codes.SQLITE_IOERR_CORRUPTFS, codes.SQLITE_IOERR_DATA:
		return true
	}
	switch code & 0xff { // the rest tells variants apart
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return true
	case codes.SQLITE_ERROR: // a table or a column is missing, or the format is unknown: the statements are right
		return true
	}
	return false
}

// lookAtBoth looks at the two files of a catalog at a time. Its error is the end of ctx: that a file cannot be read is in its state.
func lookAtBoth(ctx context.Context, path string, used bool) (both [2]state, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		both[1], both[1].unread = look(ctx, copyPath(path), used)
	}()
	both[0], both[0].unread = look(ctx, path, used)
	<-done
	if ctx.Err() != nil {
		return both, context.Cause(ctx)
	}
	return both, nil
}

// copyPath is where the second file of the catalog at path is: catalog-copy.sqlite beside catalog.sqlite.
func copyPath(path string) string {
	ext := filepath.Ext(path)
	return path[:len(path)-len(ext)] + "-copy" + ext
}

// Files are all files that the catalog at path may consist of.
func Files(path string) (all []string) {
	for _, p := range []string{path, copyPath(path)} {
		for _, suffix := range []string{"", "-wal", "-shm", madeAnew} {
			all = append(all, p+suffix)
		}
	}
	return all
}

// Inspect looks at both files of the catalog at path, which is not open, and says what is wrong with each. It changes nothing.
func Inspect(ctx context.Context, path string) (damage []error, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	both, err := lookAtBoth(ctx, path, false)
	if err = errors.Join(err, both[0].unread, both[1].unread); err != nil {
		return nil, err
	}
	for _, s := range both {
		if s.damage != nil {
			damage = append(damage, fmt.Errorf("%s: %w: %w", s.path, ErrDamaged, s.damage))
		}
	}
	if c, err := choose(both); err == nil && len(damage) == 0 && c.level > slog.LevelInfo {
		damage = append(damage, fmt.Errorf("%s: %s", both[1-c.use].path, c.why))
	}
	return damage, nil
}

// CheckFile reads a file that Backup has written, and that nobody writes to, and says what is wrong with it. It changes nothing.
func CheckFile(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	s, err := look(ctx, path, false)
	switch {
	case err != nil:
		return err
	case s.damage != nil:
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, s.damage)
	case s.version == 0:
		return fmt.Errorf("%s: %w: there is no catalog in it", path, ErrDamaged)
	}
	return nil
}
