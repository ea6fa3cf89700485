package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// administratorKey is the first key of every server here.
const administratorKey = "ps_endtoend_0123456789abcdef0123456789abcdef"

// startTimeout bounds the start of a server, a recovery of its data included.
const startTimeout = 30 * time.Second

// server is a running binary. Its data directory outlives its process, which can be ended and started again.
type server struct {
	*client.Client
	t    testing.TB
	dir  string
	args []string
	env  []string
	log  *serverLog
	url  string
	proc *process
}

// process is one life of a server.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; good once exited is closed
}

// newServer starts a server with an empty data directory. It is killed at the end of the test.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startServer(t, &server{dir: t.TempDir(), args: args, env: []string{"PULSESTREAM_BOOTSTRAP_API_KEY=" + administratorKey}})
}

// startServer starts a server as it is described.
func startServer(t testing.TB, s *server) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a real server: left out of -short")
	}
	s.t, s.log = t, &serverLog{}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.tail(200))
		}
	})
	s.start()
	return s
}

// start starts the process and waits until it takes events.
func (s *server) start() {
	s.t.Helper()
	ready := s.launch()
	select {
	case s.url = <-ready:
	case <-s.proc.exited:
		s.t.Fatalf("the server ended as it started: %v", s.proc.err)
	case <-time.After(startTimeout):
		s.t.Fatalf("the server was not ready within %s", startTimeout)
	}
	s.Client = client.New(s.url, administratorKey)
	eventually(s.t, startTimeout, func() error { return s.Ready(s.t.Context()) })
}

// launch starts the process; its address comes when it is ready.
func (s *server) launch() <-chan string {
	s.t.Helper()
	binary := os.Getenv(binaryVariable)
	if !filepath.IsAbs(binary) {
		s.t.Fatalf("%s is %q: give the absolute path of the binary, or unset it", binaryVariable, binary)
	}
	args := append([]string{"serve", "--data-dir", s.dir, "--listen", "127.0.0.1:0"}, s.args...)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(withoutOwnVariables(os.Environ()), s.env...)
	cmd.Stderr = s.log
	ready := s.log.watch()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	s.proc = p
	return ready
}

// withoutOwnVariables keeps settings of whoever runs the tests away from the servers.
func withoutOwnVariables(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "PULSESTREAM_") })
}

// with is the same server for a subtest.
func (s *server) with(t testing.TB) *server {
	c := *s
	c.t = t
	return &c
}

// kill ends the process as a power cut would, if it runs.
func (s *server) kill() {
	if s.proc != nil {
		_ = s.proc.cmd.Process.Kill()
		<-s.proc.exited
	}
}

// stop asks the process to end, and fails the test unless it does so cleanly. It returns how long that took.
func (s *server) stop() time.Duration {
	s.t.Helper()
	began := time.Now()
	if err := s.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("SIGTERM: %v", err)
	}
	select {
	case <-s.proc.exited:
	case <-time.After(30 * time.Second):
		s.t.Fatal("the server did not end within 30 s of SIGTERM")
	}
	if s.proc.err != nil {
		s.t.Errorf("the server ended with %v, want exit code 0", s.proc.err)
	}
	return time.Since(began)
}

// serverLog keeps what a server writes and finds the line that tells its address.
type serverLog struct {
	mu    sync.Mutex
	text  []byte
	line  []byte
	ready chan string
}

func (l *serverLog) watch() <-chan string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = make(chan string, 1)
	l.line = nil
	return l.ready
}

// Write is for the server's standard error.
func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.line = append(l.line, b...)
	for {
		line, rest, whole := bytes.Cut(l.line, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.line = rest
		var entry struct {
			Message string `json:"message"`
			URL     string `json:"url.full"`
		}
		if json.Unmarshal(line, &entry) == nil && entry.Message == "PulseStream is ready" && l.ready != nil {
			l.ready <- entry.URL
			l.ready = nil
		}
	}
}

func (l *serverLog) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(strings.TrimRight(string(l.text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// errors are the lines that say that something went wrong in the server.
func (l *serverLog) errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.SplitSeq(string(l.text), "\n") {
		if strings.Contains(line, `"log.level":"error"`) {
			found = append(found, line)
		}
	}
	return found
}

// wantNoErrors fails the test if the server has logged an error.
func (s *server) wantNoErrors() {
	s.t.Helper()
	if found := s.log.errors(); len(found) > 0 {
		s.t.Errorf("the server logged errors:\n%s", strings.Join(found, "\n"))
	}
}

// eventually polls until check returns nil, and fails the test with its last error when that takes too long.
func eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	if err := poll(t.Context(), within, check); err != nil {
		t.Fatalf("not within %s: %v", within, err)
	}
}

func poll(ctx context.Context, within time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// send sends events, all of which must be taken.
func (s *server) send(events ...client.Event) {
	s.t.Helper()
	receipt, err := s.Send(s.t.Context(), events...)
	if err != nil || receipt.Accepted != len(events) || len(receipt.Rejected) > 0 {
		s.t.Fatalf("send %d events: %+v, %v", len(events), receipt, err)
	}
}

// waitForEvents waits until q finds just n events, and returns them.
func (s *server) waitForEvents(q client.EventQuery, n int) []client.StoredEvent {
	s.t.Helper()
	var all []client.StoredEvent
	eventually(s.t, 15*time.Second, func() error {
		var err error
		all, err = s.AllEvents(s.t.Context(), q)
		if err == nil && len(all) != n {
			err = fmt.Errorf("%d events stored, want %d", len(all), n)
		}
		return err
	})
	return all
}

// exchange is Exchange that must get an answer.
func (s *server) exchange(method, path string, header http.Header, body any) *client.Response {
	s.t.Helper()
	r, err := s.Exchange(s.t.Context(), method, path, header, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// problem is what an error answer must be.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []client.FieldError
	Rejected                  []client.Rejected
	RequestID                 string `json:"request_id"`
}

// wantProblem checks an answer's status and the form of all problems.
func wantProblem(t testing.TB, r *client.Response, status int) problem {
	t.Helper()
	var p problem
	if r.Status != status {
		t.Errorf("status %d, want %d: %s", r.Status, status, clip(r.Body))
	}
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", got)
	}
	if err := json.Unmarshal(r.Body, &p); err != nil {
		t.Errorf("the problem is not JSON: %v: %s", err, clip(r.Body))
		return p
	}
	if p.Status != r.Status || p.Type == "" || p.Title == "" || p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		t.Errorf("the problem lacks something: %s, X-Request-Id %q", clip(r.Body), r.Header.Get("X-Request-Id"))
	}
	for _, e := range p.Errors {
		if e.Location == "" || e.Message == "" {
			t.Errorf("an error without location or message: %s", clip(r.Body))
		}
	}
	wantHeadersOf(t, r)
	return p
}

// wantHeadersOf checks the headers that belong to a status.
func wantHeadersOf(t testing.TB, r *client.Response) {
	t.Helper()
	for status, names := range map[int][]string{
		http.StatusUnauthorized: {"WWW-Authenticate"}, http.StatusMethodNotAllowed: {"Allow"}, http.StatusServiceUnavailable: {"Retry-After"},
		http.StatusTooManyRequests: {"Retry-After", "RateLimit", "RateLimit-Policy"},
	} {
		for _, name := range names {
			if r.Status == status && r.Header.Get(name) == "" {
				t.Errorf("a %d without the header %s", status, name)
			}
		}
	}
}

func clip(b []byte) string {
	if len(b) > 600 {
		return string(b[:600]) + "…"
	}
	return string(b)
}

// sharedData is the path of data made by others; without it the test is skipped.
func sharedData(t testing.TB, elements ...string) string {
	t.Helper()
	name := filepath.Join(append([]string{"data"}, elements...)...)
	if dir := os.Getenv("PULSESTREAM_SHARED"); dir != "" {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("PULSESTREAM_SHARED has no %s: %v", name, err)
		}
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(dir, "shared", name)
		if _, err := os.Stat(path); err == nil {
			return path
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if dir == filepath.Dir(dir) {
			t.Skipf("there is no shared/%s beside the checkout: set PULSESTREAM_SHARED to the directory that has %s", name, name)
		}
		dir = filepath.Dir(dir)
	}
}

func asError[E error](err error, target *E) bool { return errors.As(err, target) }
