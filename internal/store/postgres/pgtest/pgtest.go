// Package pgtest starts real PostgreSQL servers for tests: on 127.0.0.1 and a free port, in a folder of their own, as a user that is not root, owned
// and ended by who started them. It is test support, and no part of the server.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// BinEnv names a folder with initdb and postgres in it that is used in place of the one that is found.
const BinEnv = "PULSESTREAM_TEST_POSTGRES_BIN"

// TimescaleEnv names a server with TimescaleDB, as a URL of a user who may create databases and roles.
const TimescaleEnv = "PULSESTREAM_TEST_TIMESCALE_URL"

// Owner is the login that databases belong to: what an operator would give PulseStream. It is no superuser, but may create roles.
const Owner = "pulsestream"

// ErrMissing says that there is no PostgreSQL on this machine.
var ErrMissing = errors.New("there is no PostgreSQL here: install Debian's postgresql-15 (make components), or let " + BinEnv + " name the folder of initdb and postgres")

// Bin is the folder of PostgreSQL's programs.
func Bin() (string, error) {
	if dir := os.Getenv(BinEnv); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err != nil { //nolint:gosec // who runs the tests says where
			return "", fmt.Errorf("%s: %w", BinEnv, err)
		}
		return dir, nil
	}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is fine
	slices.Sort(versions)
	for _, dir := range slices.Backward(versions) {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", ErrMissing
}

// Options change what a server is like.
type Options struct {
	// Durable has it sync what it commits, for measurements.
	Durable bool
	// Settings are more of postgresql.conf's, as name=value.
	Settings []string
	// Listen is the address, by default 127.0.0.1.
	Listen string
}

// Server is a running server.
type Server struct {
	Port     int
	opts     Options
	bin, dir string
	secret   string
	account  *syscall.Credential // nil: as who runs this

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
	log   *os.File
}

// Start starts a server that is ended and removed when the test is over. The test is skipped where there is no PostgreSQL, and in short mode.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("a PostgreSQL server is left out in short mode")
	}
	s, err := New(tb.Context(), opts)
	if errors.Is(err, ErrMissing) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(s.Tail())
		}
		s.Remove()
	})
	return s
}

// New starts a server for a caller that is no test, who has to call Remove.
func New(ctx context.Context, opts Options) (*Server, error) {
	bin, err := Bin()
	if err != nil {
		return nil, err
	}
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1"
	}
	s := &Server{opts: opts, bin: bin, secret: rand.Text()}
	if s.account, err = account(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "pulsestream-postgres-"); err != nil {
		return nil, err
	}
	if err := s.initialize(ctx); err != nil {
		s.Remove()
		return nil, err
	}
	for range 5 { // another process may take the port in between
		if s.Port, err = freePort(opts.Listen); err != nil {
			break
		}
		if err = s.Up(ctx); err == nil {
			err = s.prepare(ctx)
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, s.Tail())
		s.Remove()
		return nil, err
	}
	return s, nil
}

// account is who a server runs as: PostgreSQL refuses to be run by root.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else than who runs this
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL cannot be run as root, and there is no user postgres or nobody to run it as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) initialize(ctx context.Context) error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.secret), 0o600); err != nil {
		return err
	}
	if s.account != nil {
		for _, path := range []string{s.dir, password} {
			if err := os.Chown(path, int(s.account.Uid), int(s.account.Gid)); err != nil {
				return err
			}
		}
	}
	cmd := s.command(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s.admit()
}

// admit lets those in who come from the network of the server's address, where that is not this machine's own.
func (s *Server) admit() error {
	if s.opts.Listen == "127.0.0.1" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.data(), "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("host all " + Owner + ",postgres samenet scram-sha-256\n")
	return errors.Join(err, f.Close())
}

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // PostgreSQL's own programs
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	// A test that is killed takes its server along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd
}

// freePort is below the ports that the system gives to those who connect.
func freePort(address string) (int, error) {
	for range 100 {
		var b [2]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		port := 10000 + (int(b[0])<<8|int(b[1]))%22768
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port))) //nolint:noctx // it is closed at once
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port between 10000 and 32767")
}

// Up starts the server, after Stop, and waits until it answers.
func (s *Server) Up(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		f, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		s.log = f
	}
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.Port)}
	settings := []string{"listen_addresses=" + s.opts.Listen, "unix_socket_directories=", "max_connections=200", "shared_buffers=128MB", "max_wal_size=4GB", "log_checkpoints=off"}
	if !s.opts.Durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	for _, set := range append(settings, s.opts.Settings...) {
		args = append(args, "-c", set)
	}
	cmd := s.command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	ended := make(chan struct{})
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended stands in its log
	}()
	return s.await(ctx, ended)
}

// await polls until the server takes connections.
func (s *Server) await(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.Superuser("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ended:
			return errors.New("the PostgreSQL server ended as it started")
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL server does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// How a server is stopped.
const (
	Fast      = syscall.SIGINT  // ends transactions, and writes everything
	Immediate = syscall.SIGQUIT // as in a crash: it recovers when it is started
)

// Stop stops the server and waits until it has ended.
func (s *Server) Stop(how syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(how) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // its own process group
		<-s.ended
	}
	s.cmd = nil
}

// Restart is Stop and Up.
func (s *Server) Restart(ctx context.Context, how syscall.Signal) error {
	s.Stop(how)
	return s.Up(ctx)
}

// Remove stops the server and removes all that it had.
func (s *Server) Remove() {
	s.Stop(Immediate)
	if s.log != nil {
		_ = s.log.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// Processor is the processor time that all of the server's processes have taken.
func (s *Server) Processor() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0, errors.New("the server does not run")
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	parent := strconv.Itoa(s.cmd.Process.Pid)
	ticks := 0
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// Behind the name, which may hold anything: state, parent, …; the times are the 12th to the 15th, the last two those of children that have ended.
		own := filepath.Base(filepath.Dir(path)) == parent
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 15 || !own && fields[1] != parent {
			continue
		}
		for _, f := range fields[11:15] {
			n, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Tail is the end of the server's log.
func (s *Server) Tail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return "PostgreSQL's log ends:\n" + string(text[max(0, len(text)-4000):])
}

// prepare makes the login of the databases' owner.
func (s *Server) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.Superuser("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, `CREATE ROLE `+Owner+` LOGIN CREATEROLE PASSWORD '`+s.secret+`'`)
	return err
}

// Superuser is the URL of a database for who may do anything.
func (s *Server) Superuser(database string) string { return s.url("postgres", database) }

// URL is that of a database for its owner.
func (s *Server) URL(database string) string { return s.url(Owner, database) }

func (s *Server) url(name, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(name, s.secret), Host: net.JoinHostPort(s.opts.Listen, strconv.Itoa(s.Port)), Path: database}
	return u.String()
}

// Exec runs statements as superuser.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.Superuser(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// Create makes an empty database that Owner owns, and gives its URL for it.
func (s *Server) Create(ctx context.Context) (string, error) { return s.copyOf(ctx, "template0") }

// Clone makes a copy of a database that nobody uses at the time.
func (s *Server) Clone(tb testing.TB, of string) string {
	tb.Helper()
	u, err := url.Parse(of)
	if err == nil {
		of, err = s.copyOf(tb.Context(), strings.TrimPrefix(u.Path, "/"))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return of
}

func (s *Server) copyOf(ctx context.Context, template string) (string, error) {
	name := "t_" + strings.ToLower(rand.Text())
	if err := s.Exec(ctx, "postgres", `CREATE DATABASE `+name+` OWNER `+Owner+` STRATEGY FILE_COPY TEMPLATE `+template); err != nil {
		return "", err
	}
	return s.URL(name), nil
}

// Database is Create for a test.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	u, err := s.Create(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// TimescaleDatabase makes an empty database on the server that TimescaleEnv names, and removes it when the test is over. The test is skipped when there is none.
func TimescaleDatabase(tb testing.TB) string {
	tb.Helper()
	at := os.Getenv(TimescaleEnv)
	if at == "" {
		tb.Skip("TimescaleDB is in no package registry: set " + TimescaleEnv + " to the URL of a user who may create databases and roles to test with it")
	}
	name := "t_" + strings.ToLower(rand.Text())
	run := func(sql string) {
		conn, err := pgx.Connect(context.WithoutCancel(tb.Context()), at)
		if err == nil {
			_, err = conn.Exec(context.WithoutCancel(tb.Context()), sql)
			err = errors.Join(err, conn.Close(context.WithoutCancel(tb.Context())))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	run(`CREATE DATABASE ` + name + ` TEMPLATE template0`)
	tb.Cleanup(func() { run(`DROP DATABASE ` + name + ` WITH (FORCE)`) })
	u, err := url.Parse(at)
	if err != nil {
		tb.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
