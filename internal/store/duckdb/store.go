package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/rollup"
	"github.com/pulsestream/pulsestream/internal/store/segment"
)

// Config says where the store is and what it may use. Only Path is needed.
type Config struct {
	Path string // of the database file; its folder is made when there is none
	Log  *slog.Logger

	MemoryLimit   int64         // bytes for DuckDB's buffers and queries; 0 is a quarter of the machine's memory, at most 4 GiB
	Threads       int           // of DuckDB's queries; 0 is GOMAXPROCS
	CompactEvery  time.Duration // how often files are looked at that may be merged: 0 is a second; negative: only when Compact is called
	CheckpointLog int64         // bytes that the write-ahead log may have before it is written into the file; 0 is 16 MiB
	Now           func() time.Time
	Rest          *Rest // of a store of the same file that could not go on and was closed; nil for none
	// Disk says how many bytes the disk under the file has and how many of them are free; nil asks the operating system.
	Disk func() (free, size uint64, err error)
}

// Store is the Events store in sealed files and one DuckDB file.
type Store struct {
	path string
	log  *slog.Logger
	now  func() time.Time
	disk func() (free, size uint64, err error)
	db   *instance

	writing chan struct{} // holds the right to write: one writer at a time
	writer  *conn         // of whoever has that right
	rest    *Rest         // of the store before
	made    bool          // the file was made when it was opened
	settled atomic.Int64  // number of the last write that is over: all up to it are stored or never will be

	committed  atomic.Int64 // when the last commit was, in Unix nanoseconds
	mem        memory
	flushed    atomic.Int64     // number of the last flush
	flushing   chan struct{}    // holds the right to flush
	due        chan struct{}    // holds a token when a flush is due
	numbers    atomic.Int64     // the highest of a segment's file
	builder    *segment.Builder // for whoever is flushing
	roller     *rollup.Builder  // likewise
	merging    sync.Mutex       // one merge of files at a time
	merger     *segment.Builder // for whoever is merging
	rollMerger *rollup.Builder  // likewise
	reading    segment.Reader
	rolled     rollup.Reader

	mu      sync.Mutex
	idle    []*conn
	closing bool
	calls   sync.WaitGroup        // what Close waits for
	sick    atomic.Pointer[error] // of a COMMIT that failed; see room.go

	stop    context.CancelFunc // ends the loops
	loops   sync.WaitGroup
	logSize int64 // of the write-ahead log from which a checkpoint is made
}

var (
	_ store.Events  = (*Store)(nil)
	_ store.Columns = (*Store)(nil)
	_ store.Rows    = (*Store)(nil)
)

// maxIdle is how many connections of readers are kept for the next ones.
const maxIdle = 8

// Open opens the store, or makes it. A file that cannot be read because it is damaged gives ErrDamaged.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the events store: %w", err)
	}
	if err := accessible(cfg.Path); err != nil {
		return nil, err
	}
	db, err := openInstance(cfg.Path, cfg.settings())
	if err != nil {
		return nil, openError(cfg.Path, err)
	}
	s := &Store{path: cfg.Path, log: cfg.Log, now: cfg.Now, disk: cfg.Disk, rest: cfg.Rest, db: db, writing: make(chan struct{}, 1), logSize: cfg.CheckpointLog,
		flushing: make(chan struct{}, 1), due: make(chan struct{}, 1), builder: segment.NewBuilder(), merger: segment.NewBuilder(),
		roller: rollup.NewBuilder(), rollMerger: rollup.NewBuilder()}
	s.mem.most = flushBytesOf(cfg.MemoryLimit)
	if s.writer, err = db.connect(); err == nil {
		// A checkpoint as the instance ends would not ask whether there is room for it.
		err = s.writer.exec(`PRAGMA disable_checkpoint_on_shutdown`)
	}
	if err == nil {
		err = s.load(ctx)
	}
	if err != nil {
		s.release()
		return nil, openError(cfg.Path, err)
	}
	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.loops.Go(func() { s.flushLoop(loops) })
	if cfg.CompactEvery > 0 {
		s.loops.Go(func() { s.maintain(loops, cfg.CompactEvery) })
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = memoryLimitOf(machineMemory())
	}
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	if c.CompactEvery == 0 {
		c.CompactEvery = time.Second
	}
	if c.CheckpointLog == 0 {
		c.CheckpointLog = 16 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Disk == nil {
		c.Disk = func() (free, size uint64, err error) { return diskUnder(c.Path) }
	}
	return c
}

// memoryLimitOf is what DuckDB may have of a machine's memory.
func memoryLimitOf(machine int64) int64 { return max(256<<20, min(machine/4, 4<<30)) }

func (c Config) settings() map[string]string {
	return map[string]string{
		"memory_limit": strconv.FormatInt(c.MemoryLimit>>20, 10) + "MiB",
		"threads":      strconv.Itoa(c.Threads),
		// Checkpoints are made in the background: one within a commit stalls it.
		"checkpoint_threshold": "1GB",
		// No statement may reach beyond the file, whatever text it is made from.
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
		"enable_external_access":       "false",
		// A page of events reads the other columns for its own rows only; the default is for pages of up to 50.
		"late_materialization_max_rows": "1000",
		"lock_configuration":            "true",
	}
}

// Close waits for what is under way, and writes the log into the file so that the store opens fast. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	s.mu.Unlock()
	s.stop()
	s.loops.Wait()
	s.calls.Wait()
	var err error
	if s.sick.Load() != nil {
		err = nil // what is on disk is sound, and what is in memory not to be written
	} else if unwritten := s.flushAll(context.Background()); unwritten != nil {
		s.log.Warn("events store: what was committed last is not on disk; it is taken from the log again at the next start", "error.message", unwritten.Error())
	} else if full := s.roomForCheckpoint(context.Background()); full != nil {
		s.log.Warn("events store: its log is not written into its file now but after the next start", "error.message", full.Error())
	} else {
		err = s.writer.exec(`CHECKPOINT`)
	}
	s.release()
	if err != nil {
		return fmt.Errorf("the events store is closed, but its log was not written into its file: %w", err)
	}
	return nil
}

func (s *Store) release() {
	if s.writer != nil {
		s.writer.close()
	}
	for _, c := range s.idle {
		c.close()
	}
	if s.mem.segments != nil {
		s.mem.segments.release()
	}
	if s.mem.rollups != nil {
		s.mem.rollups.release()
	}
	s.db.close()
	s.mem.slabs.Close()
}

// enter lets a call in unless the store is closed; leave must be called after it.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return fmt.Errorf("events: %w", store.ErrClosed)
	}
	if sick := s.sick.Load(); sick != nil {
		return *sick
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) leave() { s.calls.Done() }

// read runs a reader on a connection of its own. Readers may be nested: a callback may call the store.
func (s *Store) read(ctx context.Context, reader func(c *conn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.reader()
	if err != nil {
		return err
	}
	good := false
	defer func() { s.giveBack(c, good) }()
	err = reader(c)
	good = err == nil
	return err
}

// readUrgent is read for tables that commits must be seen in which are urgent.
func (s *Store) readUrgent(ctx context.Context, reader func(c *conn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	err := s.flushUrgent(ctx)
	s.leave()
	if err != nil {
		return err
	}
	return s.read(ctx, reader)
}

func (s *Store) reader() (*conn, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	return s.db.connect()
}

// giveBack keeps a connection for the next reader, unless it may be in the middle of a transaction.
func (s *Store) giveBack(c *conn, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if good && len(s.idle) < maxIdle {
		s.idle = append(s.idle, c)
		return
	}
	c.close()
}

// write runs a writer in a transaction, alone. Nothing of it is kept unless it returns nil. The end of ctx is heeded while it
// waits for its turn, and just before the transaction is committed.
func (s *Store) write(ctx context.Context, writer func(c *conn, gen int64) error) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.writer.exec(`BEGIN`); err != nil {
		return err
	}
	gen := s.settled.Load() + 1
	over := false
	defer func() {
		s.settled.Store(gen)
		if !over { // also after a panic
			// A COMMIT that failed may have ended the transaction, so a failing rollback tells nothing.
			_ = s.writer.exec(`ROLLBACK`)
		}
	}()
	if err := writer(s.writer, gen); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.writer.exec(`COMMIT`)
	if over = err == nil; !over && !errors.Is(err, store.ErrRefused) {
		err = fmt.Errorf("%w: %w", store.ErrBroken, err)
		s.sick.Store(&err)
	}
	return err
}

func (s *Store) lock(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
		if sick := s.sick.Load(); sick != nil { // since it was let in
			s.unlock()
			return *sick
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.writing }
