package live_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus/bustest"
	"github.com/pulsestream/pulsestream/internal/series"
)

// The clients of the benchmark are a process of their own, so that what the server needs can be told from what they need.
const (
	clientsEnv = "PULSESTREAM_TEST_LIVE_CLIENTS" // "address count": be them
	updates    = 10
)

// figures are what the clients saw.
type figures struct {
	Frames   int
	P50, P99 float64 // milliseconds from Publish to the client
	Lagged   int
}

func TestMain(m *testing.M) {
	if bustest.Serve() {
		return
	}
	if spec := os.Getenv(clientsEnv); spec != "" {
		address, n, _ := strings.Cut(spec, " ")
		count, _ := strconv.Atoi(n)
		if err := beClients(address, count); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	m.Run()
}

// BenchmarkFanOut has clients on two metrics with an update a second, over loopback. It reports what a client costs the server in
// memory, how long an update takes to arrive, and the server's CPU time for a client and update.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n, " clients"), func(b *testing.B) {
			f, s := fanOut(b, n)
			b.ReportMetric(float64(updates*2*n-f.Frames), "frames-lost")
			b.ReportMetric(f.P50, "p50-ms")
			b.ReportMetric(f.P99, "p99-ms")
			b.ReportMetric(s.bytes/float64(n), "B/client")
			b.ReportMetric(s.cpu.Seconds()*1e6/float64(n*updates), "cpu-µs/client/update")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func TestAllOfManyClientsSeeEachUpdate(t *testing.T) {
	const n = 200
	f, _ := fanOut(t, n)
	if f.Frames != updates*2*n || f.Lagged != 0 {
		t.Errorf("%d frames arrived, %d of which say that a client lags; want %d and none", f.Frames, f.Lagged, updates*2*n)
	}
	if f.P99 > 2000 {
		t.Errorf("an update took %.0f ms to arrive", f.P99)
	}
}

// spent is what serving the clients took.
type spent struct {
	bytes float64
	cpu   time.Duration
}

func fanOut(t testing.TB, n int) (figures, spent) {
	r := newRig(t)
	// The clients' process has as many open files again.
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(n)+500 {
		t.Skipf("needs %d open files, %d are allowed", n+500, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := resident(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", clientsEnv, strings.TrimPrefix(r.server.URL, "http://"), n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if _, err := out.ReadString('\n'); err != nil { // all have their snapshots
		t.Fatal(err)
	}
	r.measure() // the first is sent at once: from here on there is one a step
	began := cpuTime(t)
	ticks := time.NewTicker(time.Second + 20*time.Millisecond)
	defer ticks.Stop()
	for range updates - 1 {
		<-ticks.C
		r.measure()
	}
	<-ticks.C
	s := spent{cpu: cpuTime(t) - began}
	s.bytes = resident(t) - before
	_ = in.Close()
	var f figures
	if err := json.NewDecoder(out).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return f, s
}

// measure publishes the time of publication as the value of two metrics.
func (r *rig) measure() {
	now := time.Now()
	var deltas []series.Delta
	for _, id := range []int64{delayID, delayID + 1} {
		d := series.Delta{Tenant: "t", Metric: id, Second: now.Unix()}
		d.Agg.Add(series.Observation{At: now, Value: float64(now.UnixMicro()), Numeric: true})
		deltas = append(deltas, d)
	}
	r.seq++
	r.hub.Publish(0, r.seq, deltas, nil)
	spoil(deltas)
}

// resident is the memory of this process that is in use, in bytes, after what is garbage has been given back.
func resident(t testing.TB) float64 {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs /proc")
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// beClients connects count clients, says so, counts what they are sent until standard input ends, and tells.
func beClients(address string, count int) error {
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var mu sync.Mutex
	var delays []float64
	lagged := 0
	connected := make(chan error, count)
	begin := make(chan struct{}, 32)
	for range count {
		go func() {
			begin <- struct{}{}
			c, err := dialRaw(address)
			<-begin
			connected <- err
			if err != nil {
				return
			}
			for {
				payload, err := c.next()
				if err != nil {
					return
				}
				ms, ok := delayOf(payload)
				mu.Lock()
				if ok {
					delays = append(delays, ms)
				} else {
					lagged++
				}
				mu.Unlock()
			}
		}()
	}
	for range count {
		if err := <-connected; err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stdout, "connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	f := figures{Frames: len(delays), Lagged: lagged}
	if n := len(delays); n > 0 {
		f.P50, f.P99 = delays[n/2], delays[n*99/100]
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// delayOf reads how long a frame of points has been on its way, from the last value in it.
func delayOf(payload []byte) (float64, bool) {
	if !bytes.Contains(payload[:min(len(payload), 64)], []byte(`"points"`)) {
		return 0, false
	}
	at := bytes.LastIndexByte(payload, ',')
	end := at + 1 + bytes.IndexByte(payload[at+1:], ']')
	sent, err := strconv.ParseFloat(string(payload[at+1:end]), 64)
	return (float64(time.Now().UnixMicro()) - sent) / 1000, err == nil
}

// rawClient speaks just enough WebSocket to be told things, so that ten thousand fit beside a server on a small machine.
type rawClient struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func dialRaw(address string) (*rawClient, error) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &rawClient{conn: conn, r: bufio.NewReaderSize(conn, 1024)}
	hello := "GET /?tenant=t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(conn, hello); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	for _, m := range []string{"delay0", "delay1"} {
		if err := c.send(`{"op":"subscribe","id":"` + m + `","metric":"` + m + `","agg":"last","step":"1s","since":"1m"}`); err != nil {
			return nil, err
		}
		if _, err := c.next(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// send writes a masked frame, whose mask changes nothing.
func (c *rawClient) send(text string) error {
	frame := []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	_, err := c.conn.Write(append(frame, text...))
	return err
}

func (c *rawClient) next() ([]byte, error) {
	for {
		var head [8]byte
		if _, err := io.ReadFull(c.r, head[:2]); err != nil {
			return nil, err
		}
		opcode, n := head[0]&0xf, int(head[1])
		switch n {
		case 126:
			if _, err := io.ReadFull(c.r, head[:2]); err != nil {
				return nil, err
			}
			n = int(binary.BigEndian.Uint16(head[:2]))
		case 127:
			if _, err := io.ReadFull(c.r, head[:8]); err != nil {
				return nil, err
			}
			n = int(binary.BigEndian.Uint64(head[:8]))
		}
		c.buf = slices.Grow(c.buf[:0], n)[:n]
		if _, err := io.ReadFull(c.r, c.buf); err != nil {
			return nil, err
		}
		if opcode == 1 {
			return c.buf, nil
		}
		if opcode == 9 {
			if _, err := c.conn.Write(append([]byte{0x8a, 0x80 | byte(n), 0, 0, 0, 0}, c.buf...)); err != nil {
				return nil, err
			}
		}
	}
}
