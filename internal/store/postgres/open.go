package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Config says where the database is. Only URL is needed.
type Config struct {
	// URL is postgres://user:password@host:5432/database?sslmode=…, with whatever else pgx understands in it.
	URL string
	Log *slog.Logger
	Now func() time.Time
	// MaxConns is how many connections this process may have; 0 is 16.
	MaxConns int
	// Keep is how long events are kept, by their time: the longest retention of any tenant. 0 is 30 days. They go by whole days, a day later.
	Keep time.Duration
	// Wait is how long a read waits for a server that is away before it gives up with store.ErrUnavailable; 0 is five seconds.
	Wait time.Duration
	// Plain does without TimescaleDB even where the server has it. It counts when the schema is made.
	Plain bool
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 16
	}
	if c.Keep <= 0 {
		c.Keep = tenant.DefaultRetention
	}
	if c.Wait <= 0 {
		c.Wait = 5 * time.Second
	}
	return c
}

// DB is an open database: one pool of connections for both halves.
type DB struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	pool   *pgxpool.Pool
	layout Layout
	server string // what the server says that it is

	events  Events
	catalog Catalog
	closing sync.Once

	known    known
	copyings sync.Pool // of *copying, whose memory is used again
}

// schema is where everything is.
const schema = "pulsestream"

// oldest is the first version of PostgreSQL that is good enough, as server_version_num has it.
const oldest = 150000

// Open connects, and brings the schema up to date. Its errors say in one line what is wrong and what to do, and never have the password in them.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg = cfg.withDefaults()
	parsed, err := parse(cfg)
	if err != nil {
		return nil, err
	}
	d := &DB{cfg: cfg, log: cfg.Log, now: cfg.Now}
	d.events.DB, d.catalog.DB = d, d
	if d.pool, err = pgxpool.NewWithConfig(ctx, parsed); err != nil {
		return nil, explain(parsed.ConnConfig, err)
	}
	if err := d.prepare(ctx); err != nil {
		d.pool.Close()
		return nil, explain(parsed.ConnConfig, err)
	}
	d.log.Info("PostgreSQL is open", "db.system.version", d.server, "db.layout", string(d.layout))
	return d, nil
}

func parse(cfg Config) (*pgxpool.Config, error) {
	parsed, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil || !isURL(cfg.URL) { // what pgx has against it may quote some of it
		return nil, errors.New("the URL of PostgreSQL cannot be read: give it as postgres://user:password@host:5432/database, with what is special in the password percent-encoded")
	}
	parsed.MaxConns = int32(min(cfg.MaxConns, 1000)) //nolint:gosec // bounded
	parsed.MaxConnIdleTime = 5 * time.Minute
	parsed.ConnConfig.ConnectTimeout = 5 * time.Second
	parsed.ConnConfig.DialFunc = dialer().DialContext
	for name, value := range map[string]string{
		"search_path":      schema,
		"application_name": "pulsestream",
		// A process that has gone without a word must not hold its partition's row for longer than it takes others to notice.
		"idle_in_transaction_session_timeout": "15s", "client_connection_check_interval": "5s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "3", "tcp_keepalives_count": "3", "tcp_user_timeout": "15s",
		// Nothing here runs for long enough that compiling it would pay.
		"jit": "off",
	} {
		parsed.ConnConfig.RuntimeParams[name] = value
	}
	return parsed, nil
}

// silence is after what time a connection is given up on whose other end does not answer, whichever of the two notices.
const silence = 15 * time.Second

// dialer makes connections that a network that was cut ends, rather than that whoever waits for an answer waits for as long as TCP tries.
func dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}, Control: giveUp}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && strings.HasPrefix(u.Scheme, "postgres") && u.Host != ""
}

// prepare finds out what kind of server it is, and migrates.
func (d *DB) prepare(ctx context.Context) error {
	var version int
	var encoding string
	err := d.pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding')`).
		Scan(&version, &d.server, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldest:
		return fmt.Errorf("%w: PostgreSQL %s is too old: use 15 or later", errSettings, d.server)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database's encoding is %s: make one with ENCODING 'UTF8'", errSettings, encoding)
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return d.refresh(ctx)
}

// Events is the half that keeps events.
func (d *DB) Events() *Events { return &d.events }

// Catalog is the half that keeps what people configure.
func (d *DB) Catalog() *Catalog { return &d.catalog }

// Layout says how events are divided by time.
func (d *DB) Layout() Layout { return d.layout }

// Server is the server's version, as it says it.
func (d *DB) Server() string { return d.server }

// Ping says whether the server answers.
func (d *DB) Ping(ctx context.Context) error {
	return d.fail(ctx, "PostgreSQL", d.pool.Ping(ctx))
}

// Close closes both halves and the connections. A second call does nothing.
func (d *DB) Close() error {
	err := errors.Join(d.events.Close(), d.catalog.Close())
	d.closing.Do(d.pool.Close)
	return err
}

// gate lets calls in until it is closed, and knows those under way.
type gate struct {
	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// enter begins a call; leave must be called at its end.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	g.calls.Add(1)
	return nil
}

func (g *gate) leave() { g.calls.Done() }

// close waits for the calls under way.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.calls.Wait()
}

var (
	_ store.Events  = (*Events)(nil)
	_ store.Catalog = (*Catalog)(nil)
	_ store.Queue   = (*Catalog)(nil)
)
