// Package sqlite is the embedded provider of the seams store.Catalog, store.Queue and store.Trail: two SQLite files beside the event store, with the
// same content.
//
// A change is one transaction on one file and then on the other, each on its one writing connection, and it is on disk in both (write-ahead
// log, synchronous=FULL) before its call returns. Each file has the number of its transactions and a checksum of its rows, moved
// on by each transaction. When the catalog is opened, and now and then, both are read whole: the newer whole one has every change that was
// acknowledged, and the other is made anew from it when it isn't the same. Reads run on connections to the first file and see whole
// transactions only. One process owns the files: the revision counter is served from memory, so that asking whether anything has changed
// costs nothing.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// readers is how many reads run at a time. A read takes microseconds, so more would only compete for the page cache.
const readers = 4

// Config says where the catalog is.
type Config struct {
	// Path is the first file, e.g. DIR/catalog.sqlite; the second is DIR/catalog-copy.sqlite. Its folder must exist; the files are made,
	// readable by their owner only.
	Path string
	// ReadOnly changes no file. There must be a catalog, of this version or an older one.
	ReadOnly bool
	// CheckEvery is how often both files are read whole while the catalog is open: 0 is every hour, a negative one never.
	CheckEvery time.Duration
	// Log hears of migrations, and of damage; nil is silence.
	Log *slog.Logger
	// Now names what is set aside; nil is the machine's time.
	Now func() time.Time
}

// Store is an open catalog. Its methods may be called from any goroutine.
type Store struct {
	path     string
	reading  bool
	log      *slog.Logger
	now      func() time.Time
	revision atomic.Int64 // of the last commit
	doubted  chan struct{}
	stop     func()

	// turns is held by who changes anything, so that both files see changes in the same order. Waiting in Go obeys the context.
	turns  chan struct{}
	second *file
	torn   bool // the files may differ: the next change mends them first
	silent bool // another file was gone on with, and the revision hasn't moved on since

	gate   sync.RWMutex // held for reading by each call, so that Close waits for them; taken after the turn
	closed bool
	first  *file
	reader *sql.DB
}

var (
	_ store.Catalog = (*Store)(nil)
	_ store.Queue   = (*Store)(nil)
	_ store.Trail   = (*Store)(nil)
)

// Open opens the catalog, looks whether it is whole, and brings its schema up to date (ErrNewer when a newer PulseStream wrote it). A
// damaged file is set aside and made anew from the other; ErrDamaged when both are.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CheckEvery == 0 {
		c.CheckEvery = time.Hour
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the catalog: %w", err)
	}
	s := &Store{path: path, reading: c.ReadOnly, log: c.Log, now: c.Now, doubted: make(chan struct{}, 1), turns: make(chan struct{}, 1), stop: func() {}}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(s.fail(ctx, "cannot open the catalog "+path, err), s.disconnect())
	}
	if c.CheckEvery > 0 && !c.ReadOnly {
		s.start(context.WithoutCancel(ctx), c.CheckEvery)
	}
	return s, nil
}

func (s *Store) start(ctx context.Context, every time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.watch(ctx, every)
	}()
	s.stop = func() { cancel(); <-ended }
}

// Close waits for the calls under way, folds the write-ahead logs into their files and releases these. Closing again does nothing.
func (s *Store) Close() error {
	s.stop()
	s.turns <- struct{}{}
	defer func() { <-s.turns }()
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
	err := closeAll(s.reader)
	if s.first != nil {
		err = errors.Join(err, s.first.writer.Close())
	}
	return errors.Join(err, s.dropSecond())
}

// Queue is the queue of notifications, which is in the same files.
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

// turn waits until nobody else changes anything. It doesn't hold the gate, which only Close and swap take for themselves: both need the turn.
func (s *Store) turn(ctx context.Context) (leave func(), err error) {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done, err := s.enter(ctx)
	if err == nil && s.reading {
		done()
		err = errReading
	}
	if err != nil {
		<-s.turns
		return nil, err
	}
	done()
	return func() { <-s.turns }, nil
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

// write runs f in a transaction on each file, which takes effect only when f returns nil. F must not swallow the error of a statement.
func (s *Store) write(ctx context.Context, op string, f func(context.Context, *sql.Tx) error) error {
	_, err := writeFor(ctx, s, op, func(ctx context.Context, tx *sql.Tx) (struct{}, error) { return struct{}{}, f(ctx, tx) })
	return err
}

// writeFor is write for an f with a result. It returns that of the file which was kept: the other may be damaged, and the result there too.
func writeFor[T any](ctx context.Context, s *Store, op string, f func(context.Context, *sql.Tx) (T, error)) (result T, err error) {
	leave, err := s.turn(ctx)
	if err == nil {
		defer leave()
		var results [2]T
		var kept int
		kept, err = s.change(ctx, func(ctx context.Context, tx *sql.Tx, which int) (err error) {
			results[which], err = f(ctx, tx)
			return err
		})
		if err == nil {
			return results[kept], nil
		}
	}
	return result, s.fail(ctx, op, err)
}

// change changes one file and then the other, and says whether what it did in the one (0) or in the other (1) was kept. What is only in the
// first has not happened yet, though it is seen: either the other is made anew from the first at once, or the call fails, and then it
// depends on the files what becomes of the change.
func (s *Store) change(ctx context.Context, f func(ctx context.Context, tx *sql.Tx, which int) error) (kept int, err error) {
	if s.torn {
		if err := s.mend(ctx); err != nil {
			return 0, err
		}
	}
	first := s.first
	m, tried, err := first.write(ctx, func(tx *sql.Tx) error { return f(ctx, tx, 0) })
	if err != nil {
		if tried {
			s.torn = true
			err = errors.Join(err, s.loadRevision(context.WithoutCancel(ctx))) // it must not lag behind the file
		}
		return 0, err
	}
	if m == (mark{}) {
		return 0, nil
	}
	ctx = context.WithoutCancel(ctx) // there is no way back
	other, _, err := s.second.write(ctx, func(tx *sql.Tx) error { return f(ctx, tx, 1) })
	if err == nil && other == m {
		return 0, nil
	}
	if e := s.mend(ctx); e != nil {
		return 0, errors.Join(err, e, s.loadRevision(ctx))
	}
	if s.first != first {
		return 1, err // the first was damaged: what it had alone is gone
	}
	return 0, nil
}
