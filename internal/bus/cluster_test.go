package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/bus/bustest"
)

func clusterConfig(c *bustest.Cluster, partitions int) bus.ClusterConfig {
	return bus.ClusterConfig{Servers: c.URL(), Partitions: partitions, Log: slog.New(slog.DiscardHandler)}
}

func openCluster(t *testing.T, cfg bus.ClusterConfig) *bus.Cluster {
	t.Helper()
	b, err := bus.OpenCluster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// leader is which server leads a partition's stream.
func leader(t *testing.T, c *bustest.Cluster, stream string) string {
	t.Helper()
	info, err := inspect(t, c).Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return info.CachedInfo().Cluster.Leader
}

func inspect(t *testing.T, c *bustest.Cluster) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// ledger is what producers were told to be in the log.
type ledger struct {
	mu    sync.Mutex
	acked map[string]uint64 // the sequence number of each payload
}

func (l *ledger) note(payload string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[payload] = seq
}

// compare reads until everything acknowledged has come, and makes sure that each came once, as what it was acknowledged as.
func (l *ledger) compare(t *testing.T, b *bus.Cluster) {
	t.Helper()
	r, err := b.Read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen, numbers := map[string]bool{}, map[uint64]uint64{}
	for found := 0; found < len(l.acked); {
		select {
		case m, ok := <-r.Messages():
			if !ok || m.Err != nil {
				t.Fatalf("the reader ended: %v, %v", r.Err(), m.Err)
			}
			payload := string(m.Payload)
			if m.Number <= numbers[m.Producer] || seen[payload] {
				t.Errorf("message %d (%s) came again, number %d behind %d", m.Seq, payload, m.Number, numbers[m.Producer])
			}
			numbers[m.Producer], seen[payload] = m.Number, true
			if seq, ok := l.acked[payload]; ok {
				found++
				if seq != m.Seq {
					t.Errorf("%s is message %d, and was acknowledged as %d", payload, m.Seq, seq)
				}
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d acknowledged messages came", found, len(l.acked))
		}
	}
}

func TestEverythingThatAClusterAcknowledgedIsReadOnceThoughItsLeaderIsKilled(t *testing.T) {
	c := bustest.Start(t, bustest.Options{})
	cfg := clusterConfig(c, 1)
	b := openCluster(t, cfg)
	producers := []*bus.Cluster{b, openCluster(t, cfg)}
	l := &ledger{acked: map[string]uint64{}}
	var running sync.WaitGroup
	stop := make(chan struct{})
	progress := make(chan string, 1<<16)
	for i, p := range producers {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				payload := fmt.Sprintf("producer %d message %d", i, n)
				if seq, err := p.Append(t.Context(), 0, []byte(payload)); err == nil {
					l.note(payload, seq)
					select {
					case progress <- payload:
					default:
					}
				}
			}
		})
	}
	until := func(n int) {
		t.Helper()
		for range n {
			select {
			case <-progress:
			case <-time.After(40 * time.Second):
				t.Fatal("nothing is acknowledged any more")
			}
		}
	}
	until(300)
	name := leader(t, c, "PULSESTREAM_0")
	for i := range 3 {
		if c.Name(i) == name {
			c.Kill(i)
			for len(progress) > 0 {
				<-progress
			}
			until(100) // under another leader
			if err := c.Run(i); err != nil {
				t.Error(err)
			}
		}
	}
	until(300)
	close(stop)
	running.Wait()
	if err := b.Healthy(); err != nil {
		t.Error(err)
	}
	l.compare(t, b)
}

func TestALogInAClusterKeepsItsPartitionsAndIsReadFromAnywhere(t *testing.T) {
	c := bustest.Start(t, bustest.Options{})
	cfg := clusterConfig(c, 2)
	b := openCluster(t, cfg)
	r, err := b.Read(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 40 {
		if seq, err := b.Append(t.Context(), 1, fmt.Appendf(nil, "m%d", i)); err != nil || seq != uint64(i+1) {
			t.Fatalf("message %d has number %d, %v", i, seq, err)
		}
		if m := <-r.Messages(); m.Err != nil || string(m.Payload) != fmt.Sprintf("m%d", i) || m.Seq != uint64(i+1) {
			t.Fatalf("message %d: %+v", i, m)
		}
	}
	if messages, bytes := b.Pending(1, 30); messages != 10 || bytes == 0 {
		t.Errorf("%d messages of %d bytes are pending behind 30", messages, bytes)
	}
	if n := b.Synced(); n.Unknown || n.Servers != 3 {
		t.Errorf("of the servers is known: %+v", n)
	}
	cfg.Partitions = 7
	other := openCluster(t, cfg)
	if other.Partitions() != 2 {
		t.Fatalf("%d partitions; the log was made with 2", other.Partitions())
	}
	heard := make(chan string, 100)
	stop, err := other.Hear("words.*", 10, func(n bus.Note) {
		heard <- n.Subject + ": " + string(n.Data)
		if err := n.Reply([]byte("so I hear")); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	patience := time.After(20 * time.Second)
	for told := false; !told; { // that somebody listens goes from server to server; what is told before that is lost, which the bus allows
		if err := b.Tell("words.one", []byte("changed")); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if told = true; got != "words.one: changed" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(100 * time.Millisecond):
		case <-patience:
			t.Fatal("another process hears nothing")
		}
	}
	answers := 0
	if err := b.Ask(t.Context(), "words.two", nil, 5*time.Second, func(data []byte) bool { answers++; return string(data) == "so I hear" }); err != nil || answers != 1 {
		t.Errorf("%d answers, %v", answers, err)
	}
	stop()
	deadline := time.Now().Add(10 * time.Second)
	for err = nil; !errors.Is(err, bus.ErrNobody); {
		if err = b.Ask(t.Context(), "words.two", nil, time.Second, func([]byte) bool { return true }); time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	incarnation, first, last, err := other.Tail(t.Context(), 1)
	if err != nil || first != 1 || last != 40 {
		t.Fatalf("%d to %d, %v", first, last, err)
	}
	if at, err := other.Resume(t.Context(), 1, incarnation, 25); err != nil || at.After != 25 || at.Last != 40 {
		t.Errorf("%+v, %v", at, err)
	}
	if _, err := other.Resume(t.Context(), 1, incarnation, 41); !errors.Is(err, bus.ErrShorter) {
		t.Errorf("a log that ends before what was read from it: %v", err)
	}
	if _, err := other.Resume(t.Context(), 1, "another", 3); !errors.Is(err, bus.ErrForeign) {
		t.Errorf("a log that is another one: %v", err)
	}
	t.Run("a store that has read more is an alarm", func(t *testing.T) {
		cfg.Committed = func(_ context.Context, p int) (string, uint64, error) {
			if p == 1 {
				return incarnation, 50, nil
			}
			return "", 0, nil
		}
		if b, err := bus.OpenCluster(t.Context(), cfg); !errors.Is(err, bus.ErrShorter) {
			t.Errorf("%v, %v", b, err)
		}
		cfg.Committed = func(context.Context, int) (string, uint64, error) { return "another", 1, nil }
		if b, err := bus.OpenCluster(t.Context(), cfg); !errors.Is(err, bus.ErrForeign) {
			t.Errorf("%v, %v", b, err)
		}
	})
	t.Run("a stream that is deleted is an alarm", func(t *testing.T) {
		if err := inspect(t, c).DeleteStream(t.Context(), "PULSESTREAM_1"); err != nil {
			t.Fatal(err)
		}
		deadline = time.Now().Add(10 * time.Second)
		for b.Healthy() == nil {
			if time.Now().After(deadline) {
				t.Fatal("the log is well without one of its partitions")
			}
			<-time.After(20 * time.Millisecond)
		}
		if _, err := b.Append(t.Context(), 0, []byte("x")); err == nil {
			t.Error("it takes messages")
		}
	})
}

func TestSettingsThatLoseAcknowledgedMessagesAreRefused(t *testing.T) {
	c := bustest.Start(t, bustest.Options{})
	js := inspect(t, c)
	good := openCluster(t, clusterConfig(c, 1))
	for name, edit := range map[string]func(*jetstream.StreamConfig){
		"keeps 1 replicas": func(s *jetstream.StreamConfig) { s.Replicas = 1 },
		"max_msgs":         func(s *jetstream.StreamConfig) { s.MaxMsgs = 1000 },
		"max_bytes":        func(s *jetstream.StreamConfig) { s.MaxBytes = 1 << 20 },
		"max-age":          func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour },
		"max_msg_size":     func(s *jetstream.StreamConfig) { s.MaxMsgSize = 1000 },
		"no_ack":           func(s *jetstream.StreamConfig) { s.NoAck = true },
		"in memory":        func(s *jetstream.StreamConfig) { s.Storage, s.Name, s.Subjects = jetstream.MemoryStorage, "", nil },
		"its retention is": func(s *jetstream.StreamConfig) { s.Retention, s.Name = jetstream.WorkQueuePolicy, "" },
		"was not made by":  func(s *jetstream.StreamConfig) { s.Metadata, s.Name = nil, "" },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := js.Stream(t.Context(), "PULSESTREAM_0")
			if err != nil {
				t.Fatal(err)
			}
			was := s.CachedInfo().Config
			bad := was
			edit(&bad)
			if bad.Name == "" { // what cannot be edited has to be made anew
				if err := js.DeleteStream(t.Context(), was.Name); err != nil {
					t.Fatal(err)
				}
				bad.Name, bad.Subjects = was.Name, was.Subjects
				_, err = js.CreateStream(t.Context(), bad)
			} else {
				_, err = js.UpdateStream(t.Context(), bad)
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := bus.OpenCluster(t.Context(), clusterConfig(c, 1))
			if err == nil {
				b.Close()
				t.Fatal("it is taken")
			}
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), bustest.Password) {
				t.Errorf("it says %q", err)
			}
			if bad.Retention != was.Retention || bad.Storage != was.Storage || bad.Metadata == nil {
				if err := js.DeleteStream(t.Context(), was.Name); err != nil {
					t.Fatal(err)
				}
				_, err = js.CreateStream(t.Context(), was)
			} else {
				_, err = js.UpdateStream(t.Context(), was)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	good.Close()
	t.Run("wrong password", func(t *testing.T) {
		cfg := clusterConfig(c, 1)
		cfg.Servers = c.As(bustest.User, "not-the-password")
		_, err := bus.OpenCluster(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "refuse the user") || strings.Contains(err.Error(), "not-the-password") {
			t.Errorf("it says %v", err)
		}
	})
}

func TestServersThatLoseAcknowledgedMessagesAreRefused(t *testing.T) {
	for name, at := range map[string]struct {
		o    bustest.Options
		want string
	}{
		"sync interval": {bustest.Options{SyncInterval: "2m", Servers: 1}, "sync_interval"},
		"one server":    {bustest.Options{Servers: 1}, "at least 3 servers"},
		"no JetStream":  {bustest.Options{Servers: 1, NoJetStream: true}, "have no JetStream"},
		"max payload":   {bustest.Options{Servers: 1, General: "max_payload: 65536"}, "max_payload"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.OpenCluster(t.Context(), clusterConfig(bustest.Start(t, at.o), 1))
			if err == nil {
				b.Close()
				t.Fatal("it is taken")
			}
			if !strings.Contains(err.Error(), at.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says %q", err)
			}
		})
	}
}
