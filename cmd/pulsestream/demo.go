package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/demo"
)

// demoCmd's settings have variables of their own: those of a real server must not lead simulated traffic into its data.
type demoCmd struct {
	Listen  string `help:"Address to listen on." default:"127.0.0.1:8080" placeholder:"HOST:PORT" env:"PULSESTREAM_DEMO_LISTEN"`
	DataDir string `help:"Where everything is kept; a temporary directory that is removed at the end when missing." type:"path" placeholder:"DIR" env:"PULSESTREAM_DEMO_DATA_DIR"`
}

// Files that the demo knows in its data directory.
const (
	demoMarker = "demo" // says that a directory is a demo's
	keyFile    = "bootstrap-api-key"
)

// Run serves with simulated traffic until ctx ends.
func (c *demoCmd) Run(ctx context.Context) error {
	dir, remove, err := c.dataDir()
	if err != nil {
		return err
	}
	// The demo's own receiver of notifications is on this machine.
	settings := config.Serve{DataDir: dir, Listen: c.Listen, Roles: []string{"all"}, EgressAllow: []string{"127.0.0.1/32"}, LogFormat: "text", LogLevel: "warn", Partitions: 4}
	err = settings.Check()
	if err == nil {
		err = c.serve(ctx, settings)
	}
	return errors.Join(err, remove())
}

func (c *demoCmd) serve(ctx context.Context, settings config.Serve) (err error) {
	log := app.NewLogger(os.Stderr, settings.LogFormat, settings.LogLevel)
	var announcement strings.Builder // the demo says it in its own words
	a, err := app.New(ctx, settings, config.Secrets{BootstrapAPIKey: config.SecretsFromEnvironment().BootstrapAPIKey}, app.Options{Version: version, Log: log, Announce: &announcement, Now: time.Now})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: choose another address, such as --listen 127.0.0.1:8090", err)
	}
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
		defer cancel()
		if stop := a.Stop(bounded); stop != nil {
			err = errors.Join(err, fmt.Errorf("the server did not stop cleanly: %w", stop))
		}
	}()
	key, err := firstKey(a.BootstrapKey(), settings.DataDir)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case err := <-a.Failed():
			stop(err)
		case <-running.Done():
		}
	}()
	err = demo.Run(running, demo.Config{URL: reachable(a.Addr()), Key: key, Out: os.Stdout, Rich: terminal(os.Stdout), Notify: true})
	if failed := context.Cause(running); failed != nil && ctx.Err() == nil {
		return failed
	}
	if err == nil {
		fmt.Println("\nStopped.")
	}
	return err
}

// dataDir makes the directory for the demo's data and returns what to do with it at the end.
func (c *demoCmd) dataDir() (dir string, remove func() error, err error) {
	if c.DataDir == "" {
		dir, err = os.MkdirTemp("", "pulsestream-demo-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	marker := filepath.Join(c.DataDir, demoMarker)
	entries, err := os.ReadDir(c.DataDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", nil, err
	}
	if _, err := os.Stat(marker); err != nil && len(entries) > 0 {
		return "", nil, fmt.Errorf("%s holds something that is not a demo's, and simulated traffic must not be mixed into it: name a new directory with --data-dir", c.DataDir)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(marker, []byte("The data here is of pulsestream demo.\n"), 0o600); err != nil {
		return "", nil, err
	}
	return c.DataDir, func() error { return nil }, nil
}

// firstKey is the administrator's key: made just now, or by an earlier demo with the same directory.
func firstKey(made, dir string) (string, error) {
	if made != "" {
		return made, nil
	}
	if b, err := os.ReadFile(filepath.Join(dir, keyFile)); err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if given := config.SecretsFromEnvironment().BootstrapAPIKey; given != "" {
		return given, nil
	}
	return "", fmt.Errorf("the key of %s is not known: set PULSESTREAM_BOOTSTRAP_API_KEY to the one it was made with, or name a new directory with --data-dir", dir)
}

// reachable is the server's URL from this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + addr
}

// terminal says whether a person is likely to look at f.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
