package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/internal/bus/bustest"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
)

// fleet is several processes of the binary on one database and one NATS cluster.
type fleet struct {
	t    *testing.T
	nats *bustest.Cluster
	args []string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a fleet: left out of -short")
	}
	f := &fleet{t: t, nats: bustest.Start(t, bustest.Options{})}
	f.args = []string{"--store", pgtest.Start(t, pgtest.Options{}).Database(t), "--bus", f.nats.URL()}
	return f
}

// run starts a process with a role.
func (f *fleet) run(role string) *server {
	f.t.Helper()
	return newServer(f.t, append([]string{"--roles", role}, f.args...)...)
}

// standing is what a process says of itself.
type standing struct {
	Fleet struct {
		Roles   []string
		Store   string
		Log     struct{ Synced string }
		Holds   []int
		Workers []struct{ Holds []int }
		Follows int
	}
}

func (s *server) standing() (out standing) {
	s.t.Helper()
	if err := s.Do(s.t.Context(), http.MethodGet, "/readyz", nil, nil, &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// processed is how many events a process's workers have taken from the log.
func (s *server) processed() (sum float64) {
	s.t.Helper()
	r := s.exchange(http.MethodGet, "/metrics", nil, nil)
	for _, m := range regexp.MustCompile(`(?m)^pulsestream_events_processed_total\{.*\} (\S+)$`).FindAllSubmatch(r.Body, -1) {
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// counts waits until a process answers that so many events were counted.
func (s *server) counts(within time.Duration, want float64) {
	s.t.Helper()
	eventually(s.t, within, func() error {
		r, err := s.Query(s.t.Context(), client.Query{Metric: "events", Agg: "count", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute), Step: "1m"})
		if err != nil {
			return err
		}
		total := 0.0
		for _, x := range r.Series {
			if x.Total != nil {
				total += *x.Total
			}
		}
		if total != want {
			return fmt.Errorf("%v events are counted, want %v", total, want)
		}
		return nil
	})
}

func (f *fleet) event(id string) client.Event {
	return client.Event{ID: id, Source: "shop", Type: "order.paid", Data: map[string]any{"amount": 3}}
}

func TestAFleetCountsEachEventOnceThoughAWorkerIsKilled(t *testing.T) {
	f := newFleet(t)
	ingest := []*server{f.run("ingest"), f.run("ingest")}
	workers := []*server{f.run("worker"), f.run("worker")}
	apis := []*server{f.run("api"), f.run("api,ingest")}
	if s := ingest[0].standing(); !strings.HasPrefix(s.Fleet.Store, "PostgreSQL 1") || s.Fleet.Log.Synced != "always" || !slices.Equal(s.Fleet.Roles, []string{"ingest"}) {
		t.Errorf("an ingest process says %+v", s)
	}
	eventually(t, 10*time.Second, func() error {
		one, two, far := workers[0].standing().Fleet, workers[1].standing().Fleet, apis[0].standing().Fleet
		if len(one.Holds) != 2 || len(two.Holds) != 2 || len(one.Workers) != 2 || far.Follows != 4 {
			return fmt.Errorf("the workers hold %v and %v, an API process follows %d", one.Holds, two.Holds, far.Follows)
		}
		return nil
	})

	// A chart on one process of what another counts.
	v, shown := apis[1].view(t), chart{}
	v.subscribe(client.Subscription{ID: "x", Metric: "events", Agg: "count", Step: "1s", Since: "10m"})
	sent := 0
	send := func(to *server, n int) {
		t.Helper()
		for range n {
			one := f.event(fmt.Sprint("order-", sent))
			eventually(t, 30*time.Second, func() error { // 503: what senders repeat, as when NATS chooses a leader on a busy machine
				receipt, err := to.Send(t.Context(), one)
				if err == nil && receipt.Accepted != 1 {
					err = fmt.Errorf("the receipt is %+v", receipt)
				}
				return err
			})
			sent++
		}
	}
	send(ingest[0], 20)
	send(ingest[1], 20)
	sent -= 20
	send(ingest[0], 20) // known, wherever they came in
	v.draw("x", shown, map[string]float64{"map[]": 40})
	apis[0].counts(5*time.Second, 40)
	apis[1].counts(5*time.Second, 40)

	// Settings made on one process are at work in all.
	rule := client.Rule{Slug: "many", Metric: "events", Window: "10m", Condition: client.Condition{Type: "threshold", Op: ">", Value: 45}}
	if _, err := apis[0].PutRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	v.subscribe(client.Subscription{ID: "i", Topic: "incidents"})
	send(ingest[0], 10)
	if frame := v.until("i", "incidents"); len(frame.Incidents) != 1 || frame.Incidents[0].Rule != "many" {
		t.Errorf("an incident is shown as %+v", frame.Incidents)
	}

	// Another key, and its end.
	var key struct{ ID, Secret string }
	if err := apis[0].Do(t.Context(), http.MethodPost, "/v1/keys", nil, map[string]any{"name": "sender", "role": "ingest"}, &key); err != nil {
		t.Fatal(err)
	}
	stranger := client.New(ingest[1].url, key.Secret)
	if _, err := stranger.Send(t.Context(), f.event("order-0")); err != nil {
		t.Errorf("a key that another process has made is refused: %v", err)
	}
	if err := apis[1].Do(t.Context(), http.MethodDelete, "/v1/keys/"+key.ID, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, func() error {
		if _, err := stranger.Send(t.Context(), f.event("order-0")); client.StatusOf(err) != http.StatusUnauthorized {
			return fmt.Errorf("a key that another process has revoked: %w", err)
		}
		return nil
	})

	victim, other := workers[0], workers[1]
	if victim.processed() == 0 {
		victim, other = other, victim
	}
	var sending sync.WaitGroup
	sending.Go(func() { send(ingest[1], 200) })
	victim.kill()
	began := time.Now()
	eventually(t, 5*time.Second, func() error {
		if held := other.standing().Fleet.Holds; len(held) != 4 {
			return fmt.Errorf("the other worker holds %v", held)
		}
		return nil
	})
	t.Logf("what the killed worker held was taken over after %s", time.Since(began).Round(time.Millisecond))
	eventually(t, 10*time.Second, func() error {
		if other.processed() == 0 {
			return errors.New("nothing of it is processed")
		}
		return nil
	})
	t.Logf("events of it were processed after %s", time.Since(began).Round(time.Millisecond))
	sending.Wait()
	apis[0].counts(10*time.Second, float64(sent))
	apis[1].counts(5*time.Second, float64(sent))
	v.draw("x", shown, map[string]float64{"map[]": float64(sent)})
	apis[0].waitForEvents(client.EventQuery{Limit: 1000}, sent)

	// A worker that joins takes its share, one that is stopped hands over, and nothing is counted twice for it.
	third := f.run("worker")
	eventually(t, 5*time.Second, func() error {
		if a, b := other.standing().Fleet.Holds, third.standing().Fleet.Holds; len(a) != 2 || len(b) != 2 {
			return fmt.Errorf("the workers hold %v and %v", a, b)
		}
		return nil
	})
	send(ingest[0], 20)
	if took := other.stop(); took > 5*time.Second {
		t.Errorf("a worker took %s to stop", took)
	}
	eventually(t, 2*time.Second, func() error {
		if held := third.standing().Fleet.Holds; len(held) != 4 {
			return fmt.Errorf("a second after a worker has stopped, the other holds %v", held)
		}
		return nil
	})
	apis[0].counts(10*time.Second, float64(sent))
	v.draw("x", shown, map[string]float64{"map[]": float64(sent)})

	// An open chart has no gap but the reconnect when the process that shows it is restarted.
	send(ingest[0], 10)
	apis[1].stop()
	send(ingest[1], 10)
	apis[1].start()
	v, shown = apis[1].view(t), chart{}
	shown.apply(v.subscribe(client.Subscription{ID: "x", Metric: "events", Agg: "count", Step: "1s", Since: "10m"}))
	v.draw("x", shown, map[string]float64{"map[]": float64(sent)})

	r := ingest[0].exchange(http.MethodGet, "/v1/events", nil, nil)
	if !bytes.Contains(r.Body, []byte("role")) && r.Status != http.StatusMethodNotAllowed {
		t.Errorf("an ingest process answers a question with %d %s", r.Status, clip(r.Body))
	}
	for _, s := range append(apis, ingest...) {
		s.stop()
		s.wantNoErrors()
	}
}

// refusal starts a process that must end at once, and returns the line that it says.
func refusal(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Getenv(binaryVariable), append([]string{"serve", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	cmd.Env = withoutOwnVariables(cmd.Environ())
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1; %s", err, said.String())
	}
	var lines []string
	for line := range strings.Lines(said.String()) {
		if !json.Valid([]byte(line)) { // of the log
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Errorf("it says more than a line: %q", lines)
	}
	return strings.Join(lines, "")
}

func TestAFleetsWrongSettingsAreSaidInALine(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers: left out of -short")
	}
	nats, db := bustest.Start(t, bustest.Options{}), pgtest.Start(t, pgtest.Options{})
	database := db.Database(t)
	single := bustest.Start(t, bustest.Options{Servers: 1})
	for name, at := range map[string]struct {
		args []string
		want string
	}{
		"a role without a fleet":      {[]string{"--roles", "worker"}, "--store postgres://"},
		"no such role":                {[]string{"--roles", "cook"}, "no such role"},
		"a log without a store":       {[]string{"--bus", nats.URL()}, "--store postgres://"},
		"a store without a log":       {[]string{"--store", database}, "--bus nats://"},
		"no such database":            {[]string{"--bus", nats.URL(), "--store", db.URL("nowhere")}, `no database "nowhere"`},
		"a wrong password of a store": {[]string{"--bus", nats.URL(), "--store", strings.Replace(database, "pulsestream:", "pulsestream:not", 1)}, "check user and password"},
		"a wrong password of a log":   {[]string{"--store", database, "--bus", nats.As(bustest.User, "wrong-password")}, "refuse the user"},
		"one NATS server":             {[]string{"--store", database, "--bus", single.URL()}, "at least 3 servers"},
		"no Redis":                    {[]string{"--store", database, "--bus", nats.URL(), "--redis", "redis://127.0.0.1:9"}, "start Redis"},
	} {
		t.Run(name, func(t *testing.T) {
			said := refusal(t, at.args...)
			if !strings.Contains(said, at.want) {
				t.Errorf("it says %q, and not %q", said, at.want)
			}
			for _, secret := range []string{bustest.Password, "wrong-password"} {
				if strings.Contains(said, secret) {
					t.Errorf("it shows a password: %q", said)
				}
			}
		})
	}
}
