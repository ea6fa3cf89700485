// Package bustest starts real NATS clusters for tests and for the fault runner: each server is a process, so that it can be killed. It is the program
// that uses it, started again, which has the server as a library; so that program begins its main, or its TestMain, with
//
//	if bustest.Serve() {
//		return
//	}
package bustest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Credentials of the account that the log is in.
const (
	User     = "pulsestream"
	Password = "a-password-of-tests"
)

// Options say what is unusual about a cluster.
type Options struct {
	Servers int // 0: three
	// SyncInterval is the servers' setting; "always" when empty.
	SyncInterval string
	// Hidden servers do not say how they sync.
	Hidden bool
	// JetStream is a further line of the servers' JetStream settings, General one of their own.
	JetStream, General string
	// NoJetStream leaves it out.
	NoJetStream bool
	// Listen is the address of the servers; 127.0.0.1 when empty.
	Listen string
}

// Cluster is some running servers.
type Cluster struct {
	dir     string
	listen  string
	ports   []int
	servers []*process
}

type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	said   said
}

// said keeps what a server says for when the test fails.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Start starts a cluster, which ends with the test. It skips in -short.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts NATS servers: left out of -short")
	}
	c, err := New(t.TempDir(), o)
	t.Cleanup(func() {
		c.End()
		if t.Failed() {
			t.Log(c.Tail())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// New starts a cluster that keeps its files in a folder. The caller ends it, also after an error.
func New(dir string, o Options) (*Cluster, error) {
	if o.Servers == 0 {
		o.Servers = 3
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	c := &Cluster{dir: dir, listen: o.Listen, servers: make([]*process, o.Servers)}
	ports := map[int]bool{}
	for len(ports) < 2*o.Servers {
		p, err := freePort(o.Listen)
		if err != nil {
			return c, err
		}
		ports[p] = true
	}
	all := slices.Collect(maps.Keys(ports))
	c.ports = all[:o.Servers]
	for i := range o.Servers {
		if err := os.WriteFile(c.config(i), []byte(o.config(c.ports[i], i, all[o.Servers:], filepath.Join(c.dir, fmt.Sprint("data", i)))), 0o600); err != nil {
			return c, err
		}
	}
	for i := range c.servers {
		if err := c.Run(i); err != nil {
			return c, err
		}
	}
	return c, c.formed()
}

// formed waits until each server reaches all the others: until then, what one is told may not arrive at another.
func (c *Cluster) formed() error {
	if len(c.ports) == 1 {
		return nil
	}
	deadline := time.Now().Add(20 * time.Second)
	for i, port := range c.ports {
		for seen := 0; seen < len(c.ports); {
			if time.Now().After(deadline) {
				return fmt.Errorf("server %d of %d reaches only %d", i, len(c.ports), seen)
			}
			conn, err := nats.Connect("nats://"+net.JoinHostPort(c.listen, strconv.Itoa(port)), nats.UserInfo("sys", "sys"), nats.DontRandomize(), nats.IgnoreDiscoveredServers())
			if err != nil {
				return err
			}
			seen = answers(conn, "$SYS.REQ.SERVER.PING", len(c.ports))
			conn.Close()
		}
	}
	return nil
}

// answers is how many answer a question within a moment, up to a number.
func answers(conn *nats.Conn, subject string, most int) (n int) {
	inbox := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil || conn.PublishRequest(subject, inbox, nil) != nil {
		return 0
	}
	for n < most {
		if _, err := sub.NextMsg(500 * time.Millisecond); err != nil {
			return n
		}
		n++
	}
	return n
}

// End ends all servers.
func (c *Cluster) End() {
	for i := range c.servers {
		c.Kill(i)
	}
}

// Tail is the end of what each server has said.
func (c *Cluster) Tail() string {
	var b strings.Builder
	for i, s := range c.servers {
		if s != nil {
			fmt.Fprintf(&b, "server %d says:\n%s\n", i, tail(s.said.String(), 4000))
		}
	}
	return b.String()
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// variable names a server's configuration file, in a process that is to be one.
const variable = "PULSESTREAM_TEST_NATS_SERVER"

// Serve is a server of a cluster, in a process that was started to be one, until it is killed. It is false in every other.
func Serve() bool {
	file := os.Getenv(variable)
	if file == "" {
		return false
	}
	opts, err := server.ProcessConfigFile(file)
	var s *server.Server
	if err == nil {
		opts.NoSigs = true
		s, err = server.NewServer(opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return true
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return true
}

func (c *Cluster) config(i int) string { return filepath.Join(c.dir, fmt.Sprint("server", i, ".conf")) }

// config is a server's configuration: an account for the log, which may ask how the servers are set.
func (o *Options) config(port, i int, peers []int, dir string) string {
	sync := o.SyncInterval
	if sync == "" {
		sync = "always"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: n%d\nlisten: %s:%d\nsystem_account: SYS\n%s\n", i, o.Listen, port, o.General)
	if !o.NoJetStream {
		fmt.Fprintf(&b, "jetstream {\n store_dir: %q\n sync_interval: %s\n %s\n}\n", dir, sync, o.JetStream)
	}
	if len(peers) > 1 {
		fmt.Fprintf(&b, "cluster {\n name: test\n listen: 127.0.0.1:%d\n routes: [", peers[i])
		for _, p := range peers {
			fmt.Fprintf(&b, "\n  nats://127.0.0.1:%d", p)
		}
		b.WriteString("\n ]\n}\n")
	}
	exports, imports, enabled := "", "", "jetstream: enabled"
	if !o.Hidden {
		exports = `exports: [{service: "$SYS.REQ.SERVER.PING.VARZ", response_type: stream}]`
		imports = `imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.VARZ"}}]`
	}
	if o.NoJetStream {
		enabled = ""
	}
	fmt.Fprintf(&b, "accounts {\n SYS { users: [{user: sys, password: sys}]\n %s }\n LOG { %s\n users: [{user: %s, password: %s}]\n %s }\n}\n",
		exports, enabled, User, Password, imports)
	return b.String()
}

// freePort is a port that nobody listens on, below those that the system gives away.
func freePort(address string) (int, error) {
	var lc net.ListenConfig
	for range 200 {
		port := 10000 + rand.IntN(22000) //nolint:gosec // a number, not a secret
		l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no port of %s is free", address)
}

// Run starts a server that is not running.
func (c *Cluster) Run(i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &process{cmd: exec.Command(self), exited: make(chan struct{})} //nolint:gosec,noctx // this very program, which is ended
	p.cmd.Env = append(os.Environ(), variable+"="+c.config(i))
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a program that is cut off leaves nothing behind
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start a NATS server: %w", err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	c.servers[i] = p
	dial := net.Dialer{Timeout: time.Second}
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := dial.DialContext(context.Background(), "tcp", net.JoinHostPort(c.listen, strconv.Itoa(c.ports[i])))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("a NATS server ended as it started:\n%s", p.said.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a NATS server does not listen: %w\n%s", err, p.said.String())
		}
	}
}

// Kill ends a server with no chance to say goodbye.
func (c *Cluster) Kill(i int) {
	if c.servers[i] == nil {
		return
	}
	_ = c.servers[i].cmd.Process.Kill()
	<-c.servers[i].exited
}

// Name is the name of a server.
func (c *Cluster) Name(i int) string { return fmt.Sprint("n", i) }

// URL is the address of all servers, with credentials.
func (c *Cluster) URL() string { return c.As(User, Password) }

// As is URL with other credentials.
func (c *Cluster) As(user, password string) string {
	urls := make([]string, 0, len(c.ports))
	for _, p := range c.ports {
		urls = append(urls, fmt.Sprintf("nats://%s:%s@%s", user, password, net.JoinHostPort(c.listen, strconv.Itoa(p))))
	}
	return strings.Join(urls, ",")
}
