//go:build linux

package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// AdminKey is the first key of every server here, an operator's.
const AdminKey = "ps_benchrig_0123456789abcdef0123456789abcdef"

// Server is a child process.
type Server struct {
	Address string // HOST:PORT
	Dir     string // its data directory, empty when it has none
	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // of Wait, once exited is closed
}

// Command says how a server is started.
type Command struct {
	Binary string
	Args   []string // serve and more, but for --listen
	Dir    string   // data directory, which is given as --data-dir unless it is empty
	Log    io.Writer
}

const startLimit = 60 * time.Second

// Start starts a server and waits until it says where it listens.
func Start(ctx context.Context, c Command) (*Server, error) {
	args := append(slices.Clone(c.Args), "--listen", "127.0.0.1:0")
	if c.Dir != "" {
		args = append(args, "--data-dir", c.Dir)
	}
	cmd := exec.Command(c.Binary, args...) //nolint:gosec,noctx // our own binary; it is ended by Stop
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PULSESTREAM_") })
	cmd.Env = append(cmd.Env, "PULSESTREAM_BOOTSTRAP_API_KEY="+AdminKey)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // an interrupt of the terminal is not for it
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{Dir: c.Dir, cmd: cmd, exited: make(chan struct{})}
	ready := make(chan string, 1)
	go func() {
		follow(out, c.Log, ready)
		s.err = cmd.Wait()
		close(s.exited)
	}()
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case url := <-ready:
		s.Address = strings.TrimPrefix(url, "http://")
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("the server ended as it started: %w", errors.Join(s.err, errors.New("its messages are above")))
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fmt.Errorf("the server was not ready within %s", startLimit)
	}
	return nil, errors.Join(err, s.Kill())
}

// follow looks for the address in what a server says, and passes on what is a warning or worse.
func follow(r io.Reader, log io.Writer, ready chan<- string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Level   string `json:"log.level"`
			Message string `json:"message"`
			URL     string `json:"url.full"`
		}
		known := json.Unmarshal(lines.Bytes(), &line) == nil
		if known && line.URL != "" && strings.HasSuffix(line.Message, "is ready") {
			select {
			case ready <- line.URL:
			default:
			}
		}
		if !known || line.Level == "warn" || line.Level == "error" {
			fmt.Fprintf(log, "  server: %s\n", lines.Bytes())
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long ends the scan, not the server
}

// answerLimit is long: a busy disk makes a measurement slow, it need not end it.
const answerLimit = 2 * time.Minute

// Client is a client of the server that acts as key.
func (s *Server) Client(key string) *client.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http's documented type
	return client.New("http://"+s.Address, key, client.WithHTTPClient(&http.Client{Timeout: answerLimit, Transport: transport}))
}

// PID is the process's.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends a signal.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

const stopLimit = 2 * time.Minute

// Stop ends the server cleanly and returns the CPU time of its whole life.
func (s *Server) Stop() (time.Duration, error) {
	select {
	case <-s.exited:
		return 0, fmt.Errorf("the server ended by itself: %w", errors.Join(s.err, errors.New("its messages are above")))
	default:
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		return 0, errors.Join(fmt.Errorf("the server did not end within %s", stopLimit), s.Kill())
	}
	if s.err != nil {
		return 0, fmt.Errorf("the server did not stop cleanly: %w", s.err)
	}
	state := s.cmd.ProcessState
	return state.UserTime() + state.SystemTime(), nil
}

// Kill ends the server at once, if it still runs.
func (s *Server) Kill() error {
	select {
	case <-s.exited:
		return nil
	default:
	}
	err := s.cmd.Process.Kill()
	<-s.exited
	return err
}

// Disk is what a data directory takes, in bytes.
type Disk struct {
	Log   int64 `json:"log_bytes"`
	Store int64 `json:"store_bytes"` // events and rollups
	Other int64 `json:"other_bytes"` // the catalog, and what is none of these
}

// Weigh looks at a data directory. Files that vanish meanwhile don't count.
func Weigh(dir string) (Disk, error) {
	var d Disk
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || e.IsDir():
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at the size of files: %w", err)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		d.add(filepath.ToSlash(name), info.Size())
		return nil
	})
	return d, err
}

func (d *Disk) add(name string, size int64) {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case first == "log":
		d.Log += size
	case strings.HasPrefix(first, "catalog."), first == "bootstrap-api-key", first == "lock":
		d.Other += size
	default: // whatever the store calls its files
		d.Store += size
	}
}
