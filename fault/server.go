//go:build linux

package fault

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// adminKey is the first key of every server here.
const adminKey = "ps_faultrun_0123456789abcdef0123456789abcdef"

// server is a child process over a data directory. Its process can be ended and started again.
type server struct {
	binary string
	dir    string
	listen string // address; "" is any port of this machine's own
	args   []string
	log    *serverLog
	proc   *process // nil before the first start
}

// process is one life of a server.
type process struct {
	cmd    *exec.Cmd
	ready  chan string // its address
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// serverLog keeps what a server says in a file and finds what scenarios look for.
type serverLog struct {
	path string
	mu   sync.Mutex
	file *os.File
	bad  []string // lines of level warn or error, or that are no JSON
}

func newServerLog(path string) (*serverLog, error) {
	f, err := os.Create(path)
	return &serverLog{path: path, file: f}, err
}

func (l *serverLog) close() error { return l.file.Close() }

// follow copies a process's standard error until it ends.
func (l *serverLog) follow(r io.Reader, ready chan<- string) {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			l.take(text, ready)
		}
		if err != nil {
			return
		}
	}
}

func (l *serverLog) take(text string, ready chan<- string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.WriteString(text)
	var line struct {
		Level   string `json:"log.level"`
		Message string `json:"message"`
		URL     string `json:"url.full"`
	}
	if json.Unmarshal([]byte(text), &line) != nil {
		if strings.TrimSpace(text) != "" {
			l.bad = append(l.bad, strings.TrimSpace(text))
		}
		return
	}
	if line.Message == "PulseStream is ready" {
		select {
		case ready <- line.URL:
		default:
		}
	}
	if line.Level == "error" || line.Level == "warn" {
		l.bad = append(l.bad, strings.TrimSpace(text))
	}
}

// complaints are the lines of level warn or worse so far, behind the first n.
func (l *serverLog) complaints(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bad[min(n, len(l.bad)):])
}

// mark writes what the runner does between what the server says.
func (l *serverLog) mark(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.file, "---- %s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// spawn starts the process, behind wrap (a tracer's command line, or nothing), and doesn't wait for it.
func (s *server) spawn(wrap ...string) (*process, error) {
	// Which tenants share a partition must not depend on the machine.
	line := append(slices.Clone(wrap), s.binary, "serve", "--partitions", "4", "--data-dir", s.dir, "--listen", cmp.Or(s.listen, "127.0.0.1:0"))
	line = append(line, s.args...)
	cmd := exec.Command(line[0], line[1:]...) //nolint:gosec,noctx // the binary under test; it is ended by signals, that is the point
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PULSESTREAM_") })
	cmd.Env = append(cmd.Env, "PULSESTREAM_BOOTSTRAP_API_KEY="+adminKey)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever becomes of the runner
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	s.log.mark("start %s", strings.Join(line, " "))
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	p := &process{cmd: cmd, ready: make(chan string, 1), exited: make(chan struct{})}
	s.proc = p
	_ = w.Close()
	followed := make(chan struct{})
	go func() {
		s.log.follow(r, p.ready)
		_ = r.Close()
		close(followed)
	}()
	go func() {
		p.err = cmd.Wait()
		select {
		case <-followed:
		case <-time.After(2 * time.Second): // a tracer may hold the pipe
		}
		close(p.exited)
	}()
	return p, nil
}

// errEnded is returned when the server ended while it was waited for.
var errEnded = errors.New("the server ended by itself")

// awaitReady waits until the process takes events, and returns its address.
func (p *process) awaitReady(ctx context.Context, within time.Duration) (url string, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case url = <-p.ready:
	case <-p.exited:
		return "", fmt.Errorf("%w as it started: %v", errEnded, p.err) //nolint:errorlint // an exit status
	case <-ctx.Done():
		return "", fmt.Errorf("the server was not ready within %s", within)
	}
	c := client.New(url, adminKey)
	return url, poll(ctx, 5*time.Millisecond, func() error {
		if !p.alive() {
			return fmt.Errorf("%w: %v", errEnded, p.err) //nolint:errorlint // an exit status
		}
		return c.Ready(ctx)
	})
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process at once and waits until it is gone.
func (s *server) kill() {
	if s.proc == nil || !s.proc.alive() {
		return
	}
	s.log.mark("kill -9")
	_ = s.proc.cmd.Process.Kill()
	<-s.proc.exited
}

// signal sends a signal.
func (s *server) signal(sig syscall.Signal) error {
	s.log.mark("signal %s", sig)
	return s.proc.cmd.Process.Signal(sig)
}

// stand stops the process where it is, and returns when none of its threads runs any more.
//
// It comes before a power cut because EXT4_IOC_SHUTDOWN, unlike a power cut, leaves the process running, and an fsync that is under way just
// then may return success although its journal transaction was given up: seen in 6 of 360 tries on Linux 6.18. What such an fsync lets the server
// say, no sender could hear after a power cut.
func (s *server) stand(ctx context.Context) error {
	if !s.proc.alive() {
		return nil
	}
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return poll(ctx, time.Millisecond, func() error {
		states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.proc.cmd.Process.Pid))
		for _, path := range states {
			b, _ := os.ReadFile(path) // a thread may have ended meanwhile
			if _, rest, ok := strings.Cut(string(b), ") "); ok && !strings.ContainsAny(rest[:1], "TtDZX") {
				return fmt.Errorf("a thread is in state %s, it should stand", rest[:1])
			}
		}
		return err
	})
}

// stop asks the process to end and waits until it has, at most 30 seconds.
func (s *server) stop() error {
	if err := s.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.proc.exited:
	case <-time.After(30 * time.Second):
		return errors.New("the server did not end within 30 s of SIGTERM")
	}
	if s.proc.err != nil {
		return fmt.Errorf("the server did not stop cleanly: %w", s.proc.err)
	}
	return nil
}

// poll calls check until it returns nil; then, or when ctx ends, it returns its last error.
func poll(ctx context.Context, every time.Duration, check func() error) error {
	tick := time.NewTicker(every)
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

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
