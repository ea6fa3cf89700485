//go:build linux

package fault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A flood is load from a process of its own, which gives way to the server: a generator that shares the server's processors with it
// measures itself. Its requests are made once; its client knows just enough of HTTP.

// FloodCommand is the argument by which a program that calls Flood is a flood.
const FloodCommand = "flood"

// flooding is the order that the process gets on its standard input.
type flooding struct {
	Address     string        // host and port
	Key         string        // API key
	Connections int           // at most
	PerSecond   float64       // requests that begin a second, by the clock; 0: on each connection the next begins when the one before has ended
	For         time.Duration // then it ends
	Events      int           // in a request
	Pad         int           // bytes of text in an event
	Expect      bool          // the body follows only when the server asks for it
}

// flooded is what came of it. All but Sent and Accepted count requests.
type flooded struct {
	Sent     int64 // events
	Accepted int64 // events
	Requests int64
	Turned   int64 // told to come again later
	Unwise   int64 // of those, without Retry-After
	Other    int64 // failed otherwise
	Missed   int64 // should have begun when all connections were busy
	Took     time.Duration
	Reason   string        // of one that failed otherwise
	Used     time.Duration // of processors, by the flood itself
}

func (f *flooded) add(g flooded) {
	f.Sent, f.Accepted, f.Requests, f.Turned = f.Sent+g.Sent, f.Accepted+g.Accepted, f.Requests+g.Requests, f.Turned+g.Turned
	f.Unwise, f.Other, f.Missed, f.Took, f.Used = f.Unwise+g.Unwise, f.Other+g.Other, f.Missed+g.Missed, f.Took+g.Took, f.Used+g.Used
	if g.Reason != "" {
		f.Reason = g.Reason
	}
}

const floodType = "fault.flood"

// Flood is the process: it reads its order from in, carries it out, and writes what came of it to out.
func Flood(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := yieldToOthers(); err != nil {
		return err
	}
	var order flooding
	if err := json.NewDecoder(in).Decode(&order); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(order.run(ctx))
}

// politeness is by how much a flood gives way to the server, as of nice(1).
const politeness = 5

// yieldToOthers lowers the priority of all threads of this process, and so of those that they will start.
func yieldToOthers() error {
	// What the system call returns is 20 less the priority.
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	nice := min(20-own+politeness, 19)
	for done := map[string]bool{}; ; {
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		more := false
		for _, path := range tasks {
			id, err := strconv.Atoi(filepath.Base(path))
			if err != nil || done[path] {
				continue
			}
			done[path], more = true, true
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, nice); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("lower the priority: %w", err)
			}
		}
		if !more {
			return nil
		}
	}
}

// flood carries out an order in a process of its own.
func (r *rig) flood(ctx context.Context, order flooding) (flooded, error) {
	var result flooded
	self, err := os.Executable()
	if err != nil {
		return result, err
	}
	if order.Address == "" {
		u, err := url.Parse(r.base)
		if err != nil {
			return result, err
		}
		order.Address = u.Host
	}
	if order.Key == "" {
		order.Key = adminKey
	}
	in, err := json.Marshal(order)
	if err != nil {
		return result, err
	}
	var out, failed bytes.Buffer
	cmd := exec.CommandContext(ctx, self, FloodCommand) //nolint:gosec // this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &failed
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return result, fmt.Errorf("flood: %w %s", err, strings.TrimSpace(failed.String()))
	}
	err = json.Unmarshal(out.Bytes(), &result)
	result.Used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return result, err
}

// body makes a request's events. Their texts are of the kind that compresses to two thirds, as real ones do, and not to nothing.
func (o *flooding) body() []byte {
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	text := make([]byte, o.Pad)
	var b bytes.Buffer
	for range o.Events {
		for i := range text {
			text[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[chance.IntN(36)]
		}
		fmt.Fprintf(&b, `{"source":"flood","type":%q,"data":{"amount":1,"text":%q}}`+"\n", floodType, text)
	}
	return b.Bytes()
}

func (o *flooding) run(ctx context.Context) flooded {
	ctx, cancel := context.WithTimeout(ctx, o.For)
	defer cancel()
	body := o.body()
	expect := ""
	if o.Expect {
		expect = "Expect: 100-continue\r\n"
	}
	head := fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n%s\r\n", o.Address, o.Key, len(body), expect)
	whole := append(head[:len(head):len(head)], body...) // one for all connections: hundreds of copies take the machine longer to make than to send
	began := time.Now()
	var next atomic.Int64
	var result flooded
	var mu sync.Mutex
	var running sync.WaitGroup
	for range o.Connections {
		running.Go(func() {
			c := &tap{order: o, head: head, body: body, whole: whole}
			c.run(ctx, began, &next)
			mu.Lock()
			defer mu.Unlock()
			result.add(c.flooded)
		})
	}
	running.Wait()
	result.Took = time.Since(began)
	return result
}

// tap is one connection.
type tap struct {
	flooded
	order             *flooding
	head, body, whole []byte
	conn              net.Conn
	answer            *bufio.Reader
}

// late is how much later than it should a request may begin; beyond it is left out and counted.
const late = 100 * time.Millisecond

func (t *tap) run(ctx context.Context, began time.Time, next *atomic.Int64) {
	defer t.close()
	for ctx.Err() == nil {
		if t.order.PerSecond > 0 {
			due := began.Add(time.Duration(float64(next.Add(1)-1) / t.order.PerSecond * float64(time.Second)))
			if time.Since(due) > late {
				t.Missed++
				continue
			}
			if pause(ctx, time.Until(due)); ctx.Err() != nil {
				return
			}
		}
		a, err := t.exchange(context.WithoutCancel(ctx))
		t.Requests++
		t.Sent += int64(t.order.Events)
		switch {
		case err == nil && a.status == 202:
			t.Accepted += int64(t.order.Events)
		case err == nil && (a.status == 503 || a.status == 429):
			t.Turned++
			if !a.patient {
				t.Unwise++
			}
			if t.order.PerSecond == 0 {
				pause(ctx, 20*time.Millisecond) // far sooner than it was asked to
			}
		default:
			t.Other++
			t.Reason = fmt.Sprintf("status %d, %v", a.status, err)
			t.close()
			pause(ctx, 20*time.Millisecond)
		}
		if a.last {
			t.close()
		}
	}
}

func (t *tap) close() {
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// reply is what is looked at of an answer.
type reply struct {
	status  int
	patient bool // has Retry-After
	last    bool // the connection ends
}

func (t *tap) exchange(ctx context.Context) (a reply, err error) {
	if t.conn == nil {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		if t.conn, err = dialer.DialContext(ctx, "tcp", t.order.Address); err != nil {
			return a, err
		}
		t.answer = bufio.NewReaderSize(t.conn, 4096)
	}
	if err := t.conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return a, err
	}
	if !t.order.Expect {
		// A server may answer before it has read all, and hang up: its answer counts then.
		_, sent := t.conn.Write(t.whole)
		if a, err = t.read(); err != nil {
			err = errors.Join(err, sent)
		}
		return a, err
	}
	if _, err := t.conn.Write(t.head); err != nil {
		return a, err
	}
	if a, err = t.read(); err != nil || a.status != 100 {
		return a, err
	}
	if _, err := t.conn.Write(t.body); err != nil {
		return a, err
	}
	return t.read()
}

// read reads one answer.
func (t *tap) read() (a reply, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := t.answer.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		if first {
			if len(line) < 12 {
				return a, fmt.Errorf("%w: %q", errNoAnswer, line)
			}
			a.status, err = strconv.Atoi(string(line[9:12]))
			if err != nil {
				return a, err
			}
			continue
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return a, err
			}
		case "Retry-After":
			a.patient = true
		case "Connection":
			a.last = string(value) == "close"
		}
	}
	_, err = t.answer.Discard(length)
	return a, err
}

var errNoAnswer = errors.New("not an answer of HTTP")
