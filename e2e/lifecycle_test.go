package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/client"
)

func TestStoppedUnderLoadItLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "value", EventTypes: []string{"load.*"}, Value: "data.value", Dimensions: map[string]string{"type": "type"}}); err != nil {
		t.Fatal(err)
	}
	at := &address{}
	at.set(s.url)
	l := startLoad(8, 50*time.Hour, at.get)
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	for range 3 {
		before := l.acknowledged()
		eventually(t, 30*time.Second, func() error {
			if n := l.acknowledged() - before; n < 1000 {
				return fmt.Errorf("%d events acknowledged", n)
			}
			return nil
		})
		v := s.view(t)
		v.subscribe(client.Subscription{ID: "a", Metric: "events"})
		if took := s.stop(); took > 10*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		began := time.Now()
		s.start()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s to start", took)
		}
		at.set(s.url)
	}
	stopped()
	l.check(t, s)
	s.wantNoErrors()
}

func TestStoppingTellsLiveViewers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	live, err := s.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Abort() }()
	ended := make(chan error, 1)
	go func() {
		_, err := live.Next(context.Background())
		ended <- err
	}()
	s.stop()
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("a live viewer is told %v, want that the server goes away", err)
	}
}

func TestStoppingDoesNotDeliverTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	r, m := newReceiver(t, nil), newMailServer(t)
	r.answers(func(int) int { // it takes its time
		asked <- struct{}{}
		<-answer
		return http.StatusOK
	})
	s.putWebhook("slow", r)
	s.putEmail("mail", m)
	s.putRule(failures("slow", "mail"))
	s.send(failed("US", 3)...)
	in := s.waitForIncidents("firing", 1, 5*time.Second)[0]
	s.waitForMoment(in.ID, "notified", "mail", 1)
	<-asked
	timer := time.AfterFunc(time.Second, func() { close(answer) }) // while the server is stopping
	defer timer.Stop()
	s.stop()
	s.start()
	s.waitForMoment(in.ID, "notified", "slow", 1)
	s.waitForIncidents("resolved", 1, 30*time.Second)
	r.wait(t, 2, 10*time.Second)
	s.waitForMoment(in.ID, "notified", "mail", 2)
	if len(r.requests()) != 2 || len(m.mails()) != 2 {
		t.Errorf("%d requests and %d mails for two transitions", len(r.requests()), len(m.mails()))
	}
	s.wantNoErrors()
}

func TestWhatIsConfiguredOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowLoopback)
	r := newReceiver(t, nil)
	s.putWebhook("ops", r)
	s.putRule(failures("ops"))
	source, err := s.PutSource(t.Context(), "gh", "github", "secret")
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.start()
	if again, err := s.PutSource(t.Context(), "gh", "github", "secret"); err != nil || filepath.Base(again.URL) != filepath.Base(source.URL) {
		t.Errorf("the source is %+v, was %+v, %v", again, source, err)
	}
	s.send(failed("US", 3)...)
	r.wait(t, 1, 10*time.Second)
	s.wantNoErrors()
}

// command runs the binary to its end.
func command(t *testing.T, env []string, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(binaryVariable), args...)
	cmd.Env = append(withoutOwnVariables(os.Environ()), env...)
	cmd.Dir = t.TempDir()
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func TestAServerThatCannotStartSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := newServer(t) // it skips in short mode
	port := strings.TrimPrefix(s.url, "http://")
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	config := filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{file: "x", config: "listne: 127.0.0.1:0\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		args []string
		env  []string
		word string
	}{
		"a directory in use":  {[]string{"serve", "--data-dir", s.dir, "--listen", "127.0.0.1:0"}, nil, "another process"},
		"a port in use":       {[]string{"serve", "--data-dir", filepath.Join(dir, "a"), "--listen", port}, nil, port},
		"a file as directory": {[]string{"serve", "--data-dir", file, "--listen", "127.0.0.1:0"}, nil, file},
		"a short key":         {[]string{"serve", "--data-dir", filepath.Join(dir, "b"), "--listen", "127.0.0.1:0"}, []string{"PULSESTREAM_BOOTSTRAP_API_KEY=short"}, "PULSESTREAM_BOOTSTRAP_API_KEY"},
		"a bad address":       {[]string{"serve", "--listen", "nowhere"}, nil, "--listen"},
		"a bad range":         {[]string{"serve", "--egress-allow", "all"}, nil, "--egress-allow"},
		"a negative limit":    {[]string{"serve", "--rate-limit=-1"}, nil, "--rate-limit"},
		"an unknown flag":     {[]string{"serve", "--verbose"}, nil, "--verbose"},
		"an unknown command":  {[]string{"sevre"}, nil, "sevre"},
		"an unknown setting":  {[]string{"serve", "--config", config}, nil, "listne"},
		"a missing config":    {[]string{"serve", "--config", filepath.Join(dir, "none.yaml")}, nil, "none.yaml"},
		"a Redis that is not": {[]string{"serve", "--data-dir", filepath.Join(dir, "c"), "--listen", "127.0.0.1:0", "--redis", "redis://user:hunter2@127.0.0.1:1"}, nil, "start Redis"},
		"a store of a fleet":  {[]string{"serve", "--store", "postgres://user:hunter2@db/pulse"}, nil, "--store"},
	} {
		output, code := command(t, c.env, c.args...)
		if code == 0 || code == -1 || !strings.Contains(output, c.word) || strings.Contains(output, "hunter2") || strings.Contains(output, "goroutine ") {
			t.Errorf("%s: exit code %d, %s", what, code, clip([]byte(output)))
		}
	}
	if output, code := command(t, nil, "version"); code != 0 || strings.TrimSpace(output) == "" {
		t.Errorf("version: exit code %d, %s", code, output)
	}
	s.send(client.Event{Type: "unharmed"})
}

func TestTheFirstKeyIsMadeWhenNoneIsGiven(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server{dir: t.TempDir()})
	file := filepath.Join(s.dir, "bootstrap-api-key")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	b, err := os.ReadFile(file)
	key := strings.TrimSpace(string(b))
	if err != nil || !strings.HasPrefix(key, "ps_") || strings.Count(s.log.tail(1000), key) != 1 {
		t.Errorf("the key %q is to be in the file and printed once: %v\n%s", key, err, s.log.tail(50))
	}
	if _, err := client.New(s.url, key).Metrics(t.Context()); err != nil {
		t.Errorf("with the key: %v", err)
	}
	if _, err := client.New(s.url, administratorKey).Metrics(t.Context()); client.StatusOf(err) != http.StatusUnauthorized {
		t.Errorf("with another key: %v", err)
	}
	s.stop()
}
