package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/verify"
)

const key = "a-key-that-an-operator-has-chosen-01"

// server is a whole one, in this process.
type server struct {
	*client.Client
	t    testing.TB
	app  *app.App
	dir  string
	over bool
}

// start says why a server does not start.
func start(t testing.TB, dir string) error {
	a, err := open(t, dir)
	if err == nil {
		err = a.Stop(t.Context())
	}
	return err
}

func open(t testing.TB, dir string) (*app.App, error) { return openWith(t, dir, config.Secrets{}) }

func openWith(t testing.TB, dir string, secrets config.Secrets) (*app.App, error) {
	secrets.BootstrapAPIKey = key
	cfg := config.Serve{DataDir: dir, Listen: "127.0.0.1:0", Roles: []string{"all"}, Partitions: 2, LogFormat: "json", LogLevel: "error"}
	return app.New(t.Context(), cfg, secrets, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Announce: io.Discard, Now: time.Now})
}

func serve(t testing.TB, dir string) *server {
	t.Helper()
	a, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Client: client.New("http://"+a.Addr(), key), t: t, app: a, dir: dir}
	t.Cleanup(s.stop)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) stop() {
	if s.over {
		return
	}
	s.over = true
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.app.Stop(ctx); err != nil {
		s.t.Error(err)
	}
}

// send sends events with the ids from (inclusive) to (exclusive).
func (s *server) send(from, to int) {
	s.t.Helper()
	for from < to {
		var batch []client.Event
		for ; from < to && len(batch) < 50; from++ {
			batch = append(batch, client.Event{ID: fmt.Sprint("e", from), Source: "shop", Type: []string{"charge", "refund"}[from%2], Subject: fmt.Sprint("c", from%7),
				Data: map[string]any{"amount": from, "country": []string{"DE", "FR", "US"}[from%3], "note": "naïve 🚀"}})
		}
		receipt, err := s.Send(s.t.Context(), batch...)
		if err != nil || receipt.Accepted != len(batch) {
			s.t.Fatal(receipt, err)
		}
	}
}

// configure makes one thing of each kind that a catalog has.
func (s *server) configure() {
	s.t.Helper()
	ctx := s.t.Context()
	_, one := s.PutMetric(ctx, client.Metric{Slug: "amount", EventTypes: []string{"charge"}, Value: "data.amount", Dimensions: map[string]string{"country": "data.country"}})
	_, two := s.PutRule(ctx, client.Rule{Slug: "big", Metric: "amount", Agg: "max", Window: "1h", Condition: client.Condition{Type: "threshold", Op: ">", Value: 1}, Severity: "critical"})
	_, three := s.PutSource(ctx, "github", "github", "a-secret-of-some-length")
	for _, err := range []error{one, two, three} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// eventually polls until try returns nil.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// made is the data directory of a server that has stopped, with n events.
func made(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir)
	s.configure()
	s.send(0, n)
	s.drain(n)
	s.stop()
	return dir
}

// drain waits until n events are stored.
func (s *server) drain(n int) {
	s.t.Helper()
	eventually(s.t, func() error {
		all, err := s.AllEvents(s.t.Context(), client.EventQuery{Source: "shop"})
		if err == nil && len(all) != n {
			err = fmt.Errorf("%d events are stored, want %d", len(all), n)
		}
		return err
	})
}

func makeBackup(t testing.TB, dir, to string) *backup.Result {
	t.Helper()
	r, err := backup.Make(t.Context(), settings(dir, to), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func settings(dir, to string) backup.Settings {
	return backup.Settings{Places: places(dir), To: to, Wait: 20 * time.Second, Version: "test", Threads: 1, Logger: slog.New(slog.DiscardHandler), Now: time.Now}
}

// stored gives all events of a server that has stopped, by their place.
func stored(t testing.TB, dir string) map[event.Position]event.Stored {
	t.Helper()
	s, err := duckdb.Open(t.Context(), duckdb.Config{Path: places(dir).EventsPath, CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	all := map[event.Position]event.Stored{}
	if err := s.Scan(t.Context(), "default", store.Scan{}, func(ev *event.Stored) error {
		own := *ev
		own.Keep(nil)
		all[own.Position] = own
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func same(a, b event.Stored) bool {
	return a.ID == b.ID && a.Source == b.Source && a.Type == b.Type && a.Subject == b.Subject && a.Time.Equal(b.Time) && a.Received.Equal(b.Received) && a.Identified == b.Identified &&
		a.Tenant == b.Tenant && a.Partition == b.Partition && a.Position == b.Position && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

// sound verifies a server's data directory after it has stopped.
func sound(t testing.TB, dir string) {
	t.Helper()
	p := places(dir)
	report, err := verify.Offline(t.Context(), verify.OfflineConfig{DataDir: dir, EventsPath: p.EventsPath, CatalogPath: p.CatalogPath, LogDir: p.LogDir,
		Tenant: "default", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK {
		var b bytes.Buffer
		_ = report.WriteText(&b)
		t.Error(b.String())
	}
}

// contents are the files below a directory; the lock is left out.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
