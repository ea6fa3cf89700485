package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// gauge adds up what /metrics says under a name, over all labels.
func (s *server) gauge(name string) (sum float64) {
	s.t.Helper()
	found := false
	for line := range strings.SplitSeq(string(s.exchange("GET", "/metrics", nil, nil).Body), "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' '):], &v); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		sum, found = sum+v, true
	}
	if !found && !strings.HasPrefix(name, "pulsestream_events_") { // those appear with the first event
		s.t.Fatalf("/metrics has no %s", name)
	}
	return sum
}

// TestACleanStopLeavesNothingToDoAgain: the server that starts after a SIGTERM under load finds the store where the log ends, so it reads
// not a single message, let alone one that was read before.
func TestACleanStopLeavesNothingToDoAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "value", EventTypes: []string{"load.*"}, Value: "data.value", Dimensions: map[string]string{"type": "type"}}); err != nil {
		t.Fatal(err)
	}
	at := &address{}
	at.set(s.url)
	l := startLoad(8, time.Hour, at.get)
	stopped := sync.OnceFunc(l.stop)
	t.Cleanup(stopped)
	for round := range 2 {
		before := l.acknowledged()
		eventually(t, 30*time.Second, func() error {
			if n := l.acknowledged() - before; n < 1000 {
				return fmt.Errorf("%d events acknowledged in round %d", n, round)
			}
			return nil
		})
		at.set("http://127.0.0.1:9") // nobody: the next server is looked at before it is sent anything
		var burst sync.WaitGroup
		was := s.Client
		for i := range 3 { // so that there is a backlog when it is told to stop
			burst.Go(func() {
				for n := range 20 {
					body := []byte(strings.Repeat(fmt.Sprintf(`{"type":"burst.%d","source":"burst","data":%q}`+"\n", i, strings.Repeat("x", 500)), 1000))
					if _, err := was.SendRaw(t.Context(), "application/x-ndjson", body, nil); err != nil && n > 0 {
						return // it is stopping, or has too much to do
					}
				}
			})
		}
		eventually(t, 10*time.Second, func() error {
			if n := s.gauge("pulsestream_events_processed_total"); n < 6_000 {
				return fmt.Errorf("%v events processed", n)
			}
			return nil
		})
		s.stop()
		burst.Wait()
		if out := succeed(t, "verify", "--data-dir", s.dir); strings.Contains(string(out), "not in the store yet") {
			t.Errorf("the store was not where the log ends: %s", out)
		}
		s.start()
		s.send(client.Event{Type: "barrier", Source: "barrier", ID: fmt.Sprint(round)})
		s.waitForEvents(client.EventQuery{Type: "barrier"}, round+1)
		if n, again := s.gauge("pulsestream_events_processed_total"), s.gauge("pulsestream_events_duplicate_total"); n != 1 || again != 0 {
			t.Errorf("after a clean stop %v events were processed and %v of them again, want one, the one that was sent since", n, again)
		}
		at.set(s.url)
	}
	stopped()
	l.check(t, s)
	s.wantNoErrors()
}

// TestWhatADamagedLogHasLostIsNamed takes a block out of the log, behind the server's back, and the store with it.
func TestWhatADamagedLogHasLostIsNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if n := s.gauge("pulsestream_log_lost_messages") + s.gauge("pulsestream_log_losses"); n != 0 {
		t.Errorf("a new server says that it has lost %v messages", n)
	}
	const n = 20
	for i := range n { // a message each
		s.send(client.Event{Type: "lost", ID: fmt.Sprint(i), Source: "s", Data: strings.Repeat("x", 1000)})
	}
	s.waitForEvents(client.EventQuery{Type: "lost"}, n)
	s.stop()
	blocks, err := filepath.Glob(filepath.Join(s.dir, "log", "jetstream", "$G", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks of a log in %s: %v", s.dir, err)
	}
	for _, name := range blocks {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := len(content) / 3; at < len(content)/3+4000; at++ { // some messages in the middle
			if at < len(content) {
				content[at] ^= 0x55
			}
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "events.duckdb*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	var ready struct {
		Status    string
		LossCount int `json:"loss_count"`
		Losses    []struct {
			Partition        int
			From, To, Stored uint64
			Reason           string
			At               time.Time
		}
	}
	r := s.exchange("GET", "/readyz", nil, nil)
	if err := json.Unmarshal(r.Body, &ready); err != nil || r.Status != 200 || ready.Status != "ready" || ready.LossCount == 0 || len(ready.Losses) != ready.LossCount {
		t.Fatalf("/readyz says %s, %v", r.Body, err)
	}
	t.Logf("%s", r.Body)
	gone := uint64(0)
	for _, x := range ready.Losses {
		if x.Reason == "" || x.At.IsZero() || x.From == 0 || x.To < x.From || x.To > n {
			t.Errorf("%+v says too little", x)
		}
		gone += x.To - x.From + 1
	}
	if got := s.gauge("pulsestream_log_lost_messages"); got != float64(gone) || s.gauge("pulsestream_log_losses") != float64(ready.LossCount) {
		t.Errorf("/metrics says %v messages, /readyz %d", got, gone)
	}
	if got := s.gauge("pulsestream_log_lost_messages_not_stored"); got != float64(gone) {
		t.Errorf("%v of %d lost messages are said not to be stored; the store is gone", got, gone)
	}
	s.waitForEvents(client.EventQuery{Type: "lost"}, n-int(gone))
	s.send(client.Event{Type: "after"})
	s.waitForEvents(client.EventQuery{Type: "after"}, 1)
}
