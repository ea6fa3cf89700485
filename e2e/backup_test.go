package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// backedUp is what the backup command prints as JSON, as far as it matters here.
type backedUp struct {
	Manifest struct {
		Number     int    `json:"number"`
		SHA256     string `json:"sha256"`
		Partitions []struct{ Seq, Waiting, Events uint64 }
	}
	Added int `json:"added_events"`
}

func (b *backedUp) events() (n uint64) {
	for _, p := range b.Manifest.Partitions {
		n += p.Events
	}
	return n
}

// invoke prepares the binary under test with arguments.
func invoke(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Getenv(binaryVariable), args...)
	cmd.Env = withoutOwnVariables(os.Environ())
	return cmd
}

// succeed runs the binary and gives what it prints.
func succeed(t testing.TB, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := invoke(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &errs)
	}
	return out.Bytes()
}

func backUp(t testing.TB, dir, to string) (b backedUp) {
	t.Helper()
	out := succeed(t, "backup", "--data-dir", dir, "--to", to, "--json")
	if err := json.Unmarshal(out, &b); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return b
}

// again sends everything that was ever sent once more, as senders do that don't know what became of it.
func (l *load) again(t testing.TB, s *server) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []client.Event
	flush := func() {
		receipt, err := s.Send(t.Context(), batch...)
		if err != nil || receipt.Accepted != len(batch) {
			t.Fatal(receipt, err)
		}
		batch = nil
	}
	for id, e := range l.sent {
		l.acked[id] = true
		batch = append(batch, client.Event{ID: id, Source: "load", Type: e.kind, Time: &e.at, Data: map[string]int{"value": e.value}})
		if len(batch) == 500 {
			flush()
		}
	}
	flush()
}

func TestAServerThatIsLostGoesOnFromItsBackupAndCountsNothingTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "value", EventTypes: []string{"load.*"}, Value: "data.value", Dimensions: map[string]string{"type": "type"}}); err != nil {
		t.Fatal(err)
	}
	l := startLoad(4, 50*time.Hour, func() string { return s.url })
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	await := func(n int) {
		eventually(t, 30*time.Second, func() error {
			if have := l.acknowledged(); have < n {
				return fmt.Errorf("%d events acknowledged", have)
			}
			return nil
		})
	}
	to := filepath.Join(t.TempDir(), "backup")
	await(1000)
	first := backUp(t, s.dir, to)
	await(l.acknowledged() + 1000)
	known := l.acknowledged()
	second := backUp(t, s.dir, to)
	stopped()
	s.kill()
	if first.events() < 1000 || second.events() < uint64(known) || uint64(second.Added) != second.events()-first.events() {
		t.Errorf("%d events in the first backup, %d in the second, of which %d are new; %d were acknowledged before", first.events(), second.events(), second.Added, known)
	}

	fresh := filepath.Join(t.TempDir(), "restored")
	succeed(t, "restore", "--from", to, "--verify-only")
	succeed(t, "restore", "--from", to, "--data-dir", fresh)
	r := startServer(t, &server{dir: fresh})
	stored, err := r.AllEvents(t.Context(), client.EventQuery{Source: "load"})
	if err != nil || uint64(len(stored)) != second.events() {
		t.Fatalf("%d events are restored, the backup has %d; %v", len(stored), second.events(), err)
	}
	m, err := r.Metric(t.Context(), "value")
	if err != nil || m.Fill == nil || m.Fill.State != "done" {
		t.Errorf("%+v, %v", m, err)
	}
	l.again(t, r)
	l.check(t, r)
	r.stop()
	succeed(t, "verify", "--data-dir", fresh)
}

func TestABackupKilledAtAnyMomentLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	at := &address{}
	at.set(s.url)
	l := startLoad(4, time.Hour, at.get)
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	to := filepath.Join(t.TempDir(), "backup")
	began := time.Now()
	last := backUp(t, s.dir, to)
	usual := time.Since(began)
	broken := 0
	for round := range 8 {
		before := l.acknowledged()
		eventually(t, 30*time.Second, func() error {
			if n := l.acknowledged() - before; n < 2000 {
				return fmt.Errorf("%d events acknowledged in round %d", n, round)
			}
			return nil
		})
		offline := round%2 == 1
		if offline { // the command does the work by itself then
			s.kill()
		}
		cmd := invoke("backup", "--data-dir", s.dir, "--to", to)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(time.Duration(random.Int64N(int64(usual))))
		<-timer.C
		if offline {
			_ = cmd.Process.Kill()
		} else {
			s.kill()
		}
		var failed *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &failed) {
			broken++
		}
		var m struct {
			Number int
			SHA256 string `json:"sha256"`
		}
		if err := json.Unmarshal(succeed(t, "restore", "--from", to, "--verify-only", "--json"), &m); err != nil {
			t.Fatal(err)
		}
		if m.Number == last.Manifest.Number && m.SHA256 != last.Manifest.SHA256 || m.Number > last.Manifest.Number+1 {
			t.Errorf("round %d: it was %+v, and is %+v", round, last.Manifest, m)
		}
		last.Manifest.Number, last.Manifest.SHA256 = m.Number, m.SHA256
		s.start()
		at.set(s.url)
	}
	stopped()
	t.Logf("%d of 8 backups were broken off", broken)
	last = backUp(t, s.dir, to)
	s.stop()
	fresh := filepath.Join(t.TempDir(), "restored")
	succeed(t, "restore", "--from", to, "--data-dir", fresh)
	succeed(t, "verify", "--data-dir", fresh)
	r := startServer(t, &server{dir: fresh})
	stored, err := r.AllEvents(t.Context(), client.EventQuery{Source: "load"})
	if err != nil || uint64(len(stored)) != last.events() || len(stored) < l.acknowledged() {
		t.Errorf("%d events are restored, %d are in the backup, %d were acknowledged; %v", len(stored), last.events(), l.acknowledged(), err)
	}
}
