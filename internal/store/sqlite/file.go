package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite"
)

// file is one of the two that a catalog consists of, open for changes.
type file struct {
	path    string
	writer  *sql.DB // one connection: SQLite has one writer at a time
	changes changes // of the transaction under way
}

// mark is where a file stands.
type mark struct {
	commits  int64
	checksum int64
}

// openFile opens a file that exists.
func openFile(ctx context.Context, path string) (*file, error) {
	f := &file{path: path}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	var err error
	if f.writer, err = connect(path, url.Values{
		"_journal_mode": {"WAL"},
		"_txlock":       {"immediate"}, // a transaction that turns into a write midway could fail on another's
		"_pragma":       {"fullfsync(1)", "checkpoint_fullfsync(1)", "trusted_schema(0)", "secure_delete(1)"},
	}, f.changes.note); err != nil {
		return nil, err
	}
	f.writer.SetMaxOpenConns(1)
	if err := f.writer.PingContext(ctx); err != nil {
		return nil, errors.Join(err, f.writer.Close())
	}
	return f, nil
}

func openReader(ctx context.Context, path string) (*sql.DB, error) {
	db, err := connect(path, url.Values{"_query_only": {"1"}, "_pragma": {"trusted_schema(0)"}}, nil)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// write runs do in a transaction, which takes effect only when do returns nil. The mark is zero when do has changed nothing. Do must return the
// error of a statement that fails. Tried says that an error may come after all was changed: whether it took effect is for the file to say.
// The end of ctx interrupts statements, but not a commit: so that is no such error.
func (f *file) write(ctx context.Context, do func(*sql.Tx) error) (m mark, tried bool, err error) {
	conn, err := f.writer.Conn(ctx)
	if err != nil {
		return m, false, err
	}
	defer func() { _ = conn.Close() }()
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return m, false, err
	}
	f.changes = changes{}
	if err = do(tx); err == nil {
		err = f.changes.err
	}
	if err == nil && f.changes.rows > 0 {
		m, err = f.seal(ctx, tx)
	}
	if err != nil {
		_ = tx.Rollback()
		return mark{}, false, err
	}
	return m, true, tx.Commit()
}

// seal moves the file's row of integrity on.
func (f *file) seal(ctx context.Context, tx *sql.Tx) (m mark, err error) {
	if err := tx.QueryRowContext(ctx, integritySQL).Scan(&m.commits, &m.checksum); err != nil {
		return m, err
	}
	sum := unseal(m.commits, m.checksum) + f.changes.sum
	m.commits++
	m.checksum = seal(m.commits, sum)
	_, err = tx.ExecContext(ctx, sealSQL, m.commits, m.checksum)
	return m, err
}

// connect prepares a pool; connections are made when they are needed.
func connect(path string, extra url.Values, note func(driver.SQLitePreUpdateData)) (*sql.DB, error) {
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
	return openDB(path, q, note)
}

func openDB(path string, q url.Values, note func(driver.SQLitePreUpdateData)) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	c, err := driver.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	if note != nil {
		c = noted{c, note}
	}
	return sql.OpenDB(c), nil
}

// noted has each connection tell of the rows that it changes.
type noted struct {
	sqldriver.Connector
	note func(driver.SQLitePreUpdateData)
}

// Connect makes a connection.
func (n noted) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := n.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	hooks, ok := conn.(interface {
		RegisterPreUpdateHook(driver.PreUpdateHookFn)
	})
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver has no hook for changed rows"), conn.Close())
	}
	hooks.RegisterPreUpdateHook(n.note)
	return conn, nil
}

// makeFile makes an empty file that only its owner can read, unless there is one; SQLite gives the files that it makes beside
// it the same mode. The folder is synced, since SQLite does that for its log only.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes sure that the names in a file's folder are on disk.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
