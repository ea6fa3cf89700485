// Package sqlite is the embedded provider of the store.Catalog and store.Queue seams: one SQLite file beside the event store.
//
// A change is one transaction on the one writing connection, and it is on disk (write-ahead log, synchronous=FULL) before its
// call returns. Reads run beside it on their own connections and see whole transactions only. One process owns the file: the
// revision counter is served from memory, so that asking whether anything has changed costs nothing.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	driver "modernc.org/sqlite"

	"github.com/pulsestream/pulsestream/internal/store"
)

// readers is how many reads run at a time. A read takes microseconds, so more would only compete for the page cache.
const readers = 4

// Config says where the catalog is.
type Config struct {
	// Path is the file, e.g. DIR/catalog.sqlite. Its folder must exist; the file is made, readable by its owner only.
	Path string
	// Log hears of migrations; nil is silence.
	Log *slog.Logger
}

// Store is an open catalog. Its methods may be called from any goroutine.
type Store struct {
	path     string
	log      *slog.Logger
	writer   *sql.DB // one connection: SQLite has one writer at a time, and waiting in Go obeys the context
	reader   *sql.DB
	revision atomic.Int64 // of the last commit

	gate   sync.RWMutex // held for reading by each call, so that Close waits for them
	closed bool
}

var (
	_ store.Catalog = (*Store)(nil)
	_ store.Queue   = (*Store)(nil)
)

// Open opens the catalog, checks that it is whole (ErrDamaged when not) and brings its schema up to date (ErrNewer when a newer
// PulseStream wrote it).
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the catalog: %w", err)
	}
	if err := makeFile(path); err != nil {
		return nil, fmt.Errorf("cannot open the catalog: %w", err)
	}
	s := &Store{path: path, log: c.Log}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(s.fail(ctx, "cannot open the catalog "+path, err), s.disconnect())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	var err error
	if s.writer, err = connect(s.path, url.Values{
		"_journal_mode": {"WAL"},
		"_txlock":       {"immediate"}, // a transaction that turns into a write midway could fail on another's
		"_pragma":       {"fullfsync(1)", "checkpoint_fullfsync(1)", "trusted_schema(0)"},
	}); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = connect(s.path, url.Values{"_query_only": {"1"}, "_pragma": {"trusted_schema(0)"}}); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)

	if err := check(ctx, s.writer); err != nil {
		return err
	}
	if err := migrate(ctx, s.writer, migrations, s.log); err != nil {
		return err
	}
	return s.loadRevision(ctx)
}

// connect prepares a pool; connections are made when they are needed.
func connect(path string, extra url.Values) (*sql.DB, error) {
	q := url.Values{
		"mode":          {"rw"}, // makeFile has made it: a file that vanished meanwhile must not be replaced by an empty one
		"_busy_timeout": {"10000"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_defensive":    {"1"},
		"_dqs":          {"0"},
		"_error_rc":     {"1"},
	}
	for k, v := range extra {
		q[k] = v
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	c, err := driver.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// makeFile makes an empty file that only its owner can read, unless there is one; SQLite gives the files that it makes beside
// it the same mode. The folder is synced, since SQLite does that for its log only.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.Chmod(path, 0o600)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// check reads the whole file for damage. The catalog is small: 100 000 resources take well under a second.
func check(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check(5)")
	if err != nil {
		return err
	}
	defer rows.Close()
	var found []error
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		if s != "ok" {
			found = append(found, errors.New(s))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %w", ErrDamaged, errors.Join(found...))
	}
	return nil
}

// Close waits for the calls under way, folds the write-ahead log into the file and releases it. Closing again does nothing.
func (s *Store) Close() error {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.disconnect()
}

// disconnect closes readers first: the last connection to go is the one that folds the log in and removes it.
func (s *Store) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Queue is the queue of notifications, which is in the same file.
func (s *Store) Queue() store.Queue { return s }

// enter begins a call. The caller defers leave, unless there is an error.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	s.gate.RLock()
	if err = ctx.Err(); s.closed {
		err = store.ErrClosed
	}
	if err != nil {
		s.gate.RUnlock()
		return nil, err
	}
	return s.gate.RUnlock, nil
}

// read runs f between enter and leave, and names what failed.
func (s *Store) read(ctx context.Context, op string, f func(*sql.DB) error) error {
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		err = f(s.reader)
	}
	return s.fail(ctx, op, err)
}

// write runs f in a transaction, which takes effect only when f returns nil.
func (s *Store) write(ctx context.Context, op string, f func(*sql.Tx) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return s.fail(ctx, op, err)
	}
	defer leave()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return s.fail(ctx, op, err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return s.fail(ctx, op, err)
	}
	if err := tx.Commit(); err != nil {
		// Whether it took effect is for the file to say, and the counter in memory must not lag behind it.
		return s.fail(ctx, op, errors.Join(err, s.loadRevision(context.WithoutCancel(ctx))))
	}
	return nil
}
