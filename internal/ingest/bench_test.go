package ingest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonlines"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

const (
	perBatch = 1000
	loadEnv  = "PULSESTREAM_TEST_LOAD" // makes the test binary a load generator
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(loadEnv); spec != "" {
		if err := generate(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // this is the main function of a process
		}
		return
	}
	m.Run()
}

// cpu is the processor time that this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBatch parses and validates a body of a thousand lines.
func BenchmarkBatch(b *testing.B) {
	body := ndjson(perBatch)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var p event.Parser
	batch := ingest.NewBatch("key", time.Now().UTC(), tenant.DefaultRetention)
	for b.Loop() {
		p.Reset()
		ingest.Again(batch, "key", time.Now().UTC(), tenant.DefaultRetention)
		if err := jsonlines.Read(&p, body, batch); err != nil || len(batch.Events) != perBatch {
			b.Fatal(err, len(batch.Events))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perBatch, "ns/event")
}

func openBus(tb testing.TB) *bus.Bus {
	tb.Helper()
	l, err := bus.Open(tb.Context(), bus.Config{Dir: tb.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	return l
}

// BenchmarkCommitter encodes a thousand events and has them on disk.
func BenchmarkCommitter(b *testing.B) {
	batch := ingest.NewBatch("key", time.Now().UTC(), tenant.DefaultRetention)
	if err := jsonlines.Parse(ndjson(perBatch), batch); err != nil {
		b.Fatal(err)
	}
	c := ingest.NewCommitter(openBus(b), bus.MaxPayload, time.Now)
	defer c.Stop()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, err := c.Commit(b.Context(), tenant.Default, batch.Events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/perBatch, "cpu-ns/event")
}

// BenchmarkDoor is everything from the socket to the fsynced log, and beside it a server that reads the same requests and does nothing. The
// load comes from another process, so that the processor time is the server's alone.
func BenchmarkDoor(b *testing.B) {
	for _, load := range []struct {
		name              string
		connections, size int
	}{{"batches", 4, perBatch}, {"singles", 64, 1}} {
		b.Run(load.name+"/noop", func(b *testing.B) {
			drive(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusAccepted)
			}), load.connections, load.size)
		})
		b.Run(load.name+"/door", func(b *testing.B) {
			l := openBus(b)
			drive(b, door(b, l), load.connections, load.size)
			if _, _, messages, err := l.Tail(b.Context(), 0); err == nil {
				b.ReportMetric(float64(max(b.N/load.size, load.connections)*load.size)/float64(messages), "events/message")
			}
		})
	}
}

// door is the handler with all that stands before it but authentication.
func door(tb testing.TB, l *bus.Bus) http.Handler {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	c := ingest.NewCommitter(l, bus.MaxPayload, time.Now)
	tb.Cleanup(c.Stop)
	d := ingest.NewDoor(ingest.DoorConfig{Committer: c, Meter: limit.NewLocal(time.Now), Room: limit.NewRoom(128 << 20), Readers: 2, Ready: func() error { return nil },
		Refused: func(tenant.ID, string) {}, Now: time.Now, Log: log})
	mux := http.NewServeMux()
	mux.Handle("POST /v1/events", d.Events(func(*http.Request) (ingest.Sender, error) {
		return ingest.Sender{Tenant: tenant.Default, Name: "key", Retention: tenant.DefaultRetention}, nil
	}))
	return web.Outermost(mux, log, time.Now)
}

// drive has a server asked for b.N events at least, in requests of so many.
func drive(b *testing.B, h http.Handler, connections, size int) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	defer func() { _ = srv.Close() }()
	requests := max(b.N/size, connections)
	generator := exec.CommandContext(b.Context(), os.Args[0])
	generator.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d", loadEnv, l.Addr(), connections, size, requests))
	generator.Stderr = os.Stderr
	before := cpu(b)
	b.ResetTimer()
	out, err := generator.Output()
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	var result loadResult
	if err := json.Unmarshal(out, &result); err != nil {
		b.Fatal(err)
	}
	events := float64(requests * size)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu(b)-before)/events, "cpu-ns/event")
	b.ReportMetric(events/result.Seconds, "events/s")
	b.ReportMetric(result.P50, "p50-ms")
	b.ReportMetric(result.P99, "p99-ms")
}

type loadResult struct{ Seconds, P50, P99 float64 }

// generate sends requests as fast as they are answered, and says how long that took. It writes HTTP by itself, so that it takes little of the
// processors that it shares with the server.
func generate(spec string) error {
	var addr string
	var connections, size, requests int
	if _, err := fmt.Sscan(spec, &addr, &connections, &size, &requests); err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(int64(requests))
	var (
		mu     sync.Mutex
		all    []time.Duration
		failed error
		wait   sync.WaitGroup
	)
	begin := make(chan struct{})
	for k := range connections {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		texts := bodies(size, k)
		wait.Go(func() {
			<-begin
			took, err := exchange(conn, texts, &left)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if failed == nil {
				failed = err
			}
		})
	}
	started := time.Now()
	close(begin)
	wait.Wait()
	seconds := time.Since(started).Seconds()
	if failed != nil {
		return failed
	}
	slices.Sort(all)
	at := func(share float64) float64 { return all[int(share*float64(len(all)-1))].Seconds() * 1000 }
	return json.NewEncoder(os.Stdout).Encode(loadResult{seconds, at(0.5), at(0.99)})
}

// bodies are some requests as they go over the wire.
func bodies(size, seed int) (out [][]byte) {
	for n := range 4 {
		var body []byte
		for i := range size {
			body = append(appendLine(body, (seed*4+n)*size+i), '\n')
		}
		media := "application/x-ndjson"
		if size == 1 {
			media = "application/json"
		}
		out = append(out, append([]byte("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ps_aaaaaaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"+
			"User-Agent: load/1\r\nContent-Type: "+media+"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...))
	}
	return out
}

func exchange(conn net.Conn, texts [][]byte, left *atomic.Int64) (took []time.Duration, err error) {
	r := bufio.NewReader(conn)
	for i := 0; left.Add(-1) >= 0; i++ {
		at := time.Now()
		if _, err := conn.Write(texts[i%len(texts)]); err != nil {
			return took, err
		}
		length := 0
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				return took, err
			}
			if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
					return took, err
				}
			}
			if status, ok := strings.CutPrefix(line, "HTTP/1.1 "); ok && !strings.HasPrefix(status, "202") {
				return took, fmt.Errorf("the answer is %s", status)
			}
		}
		if _, err := r.Discard(length); err != nil {
			return took, err
		}
		took = append(took, time.Since(at))
	}
	return took, nil
}
