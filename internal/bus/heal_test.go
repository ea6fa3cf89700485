package bus_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
)

// mount makes a file system for the test, or skips it where that takes rights that it has not.
func mount(t *testing.T, source, kind, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount(source, dir, kind, 0, data); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// reading collects what a reader gets, opening another one whenever it ends, as a worker does.
type reading struct {
	payloads [][]byte
	last     atomic.Uint64
	done     chan struct{}
}

func readOn(ctx context.Context, b *bus.Bus) *reading {
	r := &reading{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			reader, err := b.Read(ctx, 0, r.last.Load())
			if err != nil {
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
				continue
			}
			for open := true; open; {
				select {
				case m, ok := <-reader.Messages():
					if open = ok; ok {
						r.payloads = append(r.payloads, m.Payload)
						r.last.Store(m.Seq)
					}
				case <-ctx.Done():
					open = false
				}
			}
			reader.Close()
		}
	}()
	return r
}

func TestAFullDiskRefusesAndTheLogGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	dir := mount(t, "tmpfs", "tmpfs", "size=24m")
	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "log"), Partitions: 1, Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, cancel := context.WithCancel(t.Context())
	got := readOn(ctx, b)
	payload := func(i int) []byte {
		p := make([]byte, 200_000)
		_, _ = rand.Read(p[:100_000])
		copy(p, fmt.Sprintf("message %d ", i))
		return p
	}
	ballast := filepath.Join(dir, "ballast")
	var taken [][]byte
	for round := range 3 {
		if err := os.WriteFile(ballast, make([]byte, 10<<20), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		refused := 0
		for i := 0; refused < 3; i++ {
			p := payload(len(taken))
			began := time.Now()
			if _, err := b.Append(t.Context(), 0, p); err != nil {
				refused++
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("a refusal took %s", d)
				}
				continue
			}
			taken = append(taken, p)
			if i > 200 {
				t.Fatal("the disk does not get full")
			}
		}
		until(t, "it says why", func() bool { err := b.Healthy(); return err != nil && strings.Contains(err.Error(), "no space") })
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		until(t, "it takes messages again", func() bool {
			p := payload(len(taken))
			if _, err := b.Append(t.Context(), 0, p); err != nil {
				return false
			}
			taken = append(taken, p)
			return true
		})
		t.Logf("round %d: %d messages taken, on again after %s", round, len(taken), time.Since(began))
		if round == 1 { // the log itself fills the disk in the last round
			break
		}
	}
	_, _, last, err := b.Tail(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	all := readUpTo(t, b, 0, 0, last)
	until(t, "everything is read", func() bool { return got.last.Load() >= last })
	cancel()
	<-got.done
	contains(t, "a new reader", payloads(all), taken)
	contains(t, "the reader that was there all the time", got.payloads, taken)
	if l := b.Losses(); len(l) > 0 {
		t.Errorf("losses: %+v", l)
	}
}

func TestALogOpensOnAFullDiskAndTakesMessagesWhenThereIsSpaceAgain(t *testing.T) {
	dir := mount(t, "tmpfs", "tmpfs", "size=24m")
	cfg := bus.Config{Dir: filepath.Join(dir, "log"), Partitions: 2, Log: logTo(t)}
	open := func() *bus.Bus {
		t.Helper()
		b, err := bus.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	var taken [][]byte
	take := func() {
		t.Helper()
		until(t, "it takes messages", func() bool {
			p := fmt.Appendf(nil, "message %d", len(taken))
			if _, err := b.Append(t.Context(), 1, p); err != nil {
				return false
			}
			taken = append(taken, p)
			return true
		})
	}
	take()
	b.Close()
	ballast := filepath.Join(dir, "ballast")
	for range 2 {
		indexes, err := filepath.Glob(filepath.Join(cfg.Dir, "jetstream", "*", "streams", "*", "msgs", "index.db"))
		if err != nil || len(indexes) == 0 {
			t.Fatal(indexes, err)
		}
		for _, path := range indexes { // as after a kill
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(ballast, make([]byte, 24<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		b = open()
		if err := b.Healthy(); !errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "no space") {
			t.Errorf("on a full disk it says %v", err)
		}
		if _, err := b.Append(t.Context(), 1, []byte("x")); !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("on a full disk: %v", err)
		}
		if _, err := b.Read(t.Context(), 1, 0); !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("read on a full disk: %v", err)
		}
		b.Close()
		b = open()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		take()
		_, _, last, err := b.Tail(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "a reader", payloads(readUpTo(t, b, 1, 0, last)), taken)
		b.Close()
	}
	b = open()
	t.Cleanup(b.Close)
	if l, r := b.Losses(), b.Repairs(); len(l)+len(r) > 0 {
		t.Errorf("losses %+v, repairs %+v", l, r)
	}
}

func payloads(messages []bus.Message) (out [][]byte) {
	for _, m := range messages {
		out = append(out, m.Payload)
	}
	return out
}

// contains checks that all that was taken is there, in order. More may be there: of what was refused it is not known whether it was taken.
func contains(t *testing.T, who string, got, taken [][]byte) {
	t.Helper()
	at := 0
	for i, want := range taken {
		for at < len(got) && !bytes.Equal(got[at], want) {
			at++
		}
		if at == len(got) {
			t.Fatalf("%s has not got message %d of the %d that were taken", who, i, len(taken))
		}
		at++
	}
}

func TestADiskThatHangsIsWaitedForAndEveryAppendIsBounded(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) ([]byte, error) { return exec.Command(name, args...).CombinedOutput() }
	if out, err := run("mkfs.ext4", "-q", image); err != nil {
		t.Skipf("needs mkfs.ext4: %v %s", err, out)
	}
	dir := t.TempDir()
	if out, err := run("mount", "-o", "loop", image, dir); err != nil {
		t.Skipf("needs the right to mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := run("umount", dir); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "log"), Partitions: 1, Log: logTo(t), AppendTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if _, err := b.Append(t.Context(), 0, []byte("before")); err != nil {
		t.Fatal(err)
	}
	if out, err := run("fsfreeze", "-f", dir); err != nil {
		t.Skipf("needs fsfreeze: %v %s", err, out)
	}
	thaw := func() {
		if out, err := run("fsfreeze", "-u", dir); err != nil {
			t.Errorf("%v %s", err, out)
		}
	}
	for range 3 {
		began := time.Now()
		if _, err := b.Append(t.Context(), 0, []byte("during")); err == nil {
			t.Error("taken, though the disk hangs")
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("an append took %s", d)
		}
	}
	until(t, "it is said that the disk hangs", func() bool { return b.Healthy() != nil })
	began := time.Now()
	if _, err := b.Append(t.Context(), 0, []byte("during")); !errors.Is(err, bus.ErrUnavailable) || time.Since(began) > time.Second {
		t.Errorf("after %s: %v; want to be refused at once", time.Since(began), err)
	}
	thaw()
	until(t, "it takes messages again", func() bool { _, err := b.Append(t.Context(), 0, []byte("after")); return err == nil })
	_, _, last, err := b.Tail(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "a reader", payloads(readUpTo(t, b, 0, 0, last)), [][]byte{[]byte("before"), []byte("after")})
	if l := b.Losses(); len(l) > 0 {
		t.Errorf("losses: %+v", l)
	}
}

// childVariable names the folder of the log that a child process of the test below works on.
const childVariable = "PULSESTREAM_BUS_TEST_DIR"

func TestFailingSystemCallsLoseNothingThatWasTaken(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		appendThroughFaults(t, dir)
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	for _, fault := range []string{"fsync:error=EIO:when=6", "fsync:error=EIO:when=3+19", "pwrite64:error=EIO:when=8", "pwrite64:error=ENOSPC:when=5+9"} {
		t.Run(fault, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-o", filepath.Join(dir, "trace"), "-e", "trace=fsync,pwrite64", "-e", "inject="+fault,
				os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$", "-test.v")
			cmd.Env = append(os.Environ(), childVariable+"="+filepath.Join(dir, "log"))
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "PTRACE") || strings.Contains(string(out), "ptrace") {
				t.Skip("strace may not trace here")
			}
			trace, _ := os.ReadFile(filepath.Join(dir, "trace"))
			if n := bytes.Count(trace, []byte("(INJECTED)")); err != nil || n == 0 {
				t.Errorf("%v, %d faults injected: %s", err, n, out)
			}
		})
	}
}

// appendThroughFaults appends until a number of messages were taken, and checks that they are there, now and after another start.
func appendThroughFaults(t *testing.T, dir string) {
	t.Helper()
	var b *bus.Bus
	openLog := func() {
		until(t, "it opens", func() bool { // an error while it opens is the caller's to try again
			var err error
			b, err = bus.Open(t.Context(), bus.Config{Dir: dir, Partitions: 1, Log: logTo(t)})
			return err == nil
		})
	}
	openLog()
	var taken [][]byte
	for i := 0; len(taken) < 60 && i < 20_000; i++ {
		p := fmt.Appendf(nil, "message %d", i)
		if _, err := b.Append(t.Context(), 0, p); err == nil {
			taken = append(taken, p)
			continue
		}
		until(t, "the log is well again", func() bool { return b.Healthy() == nil })
	}
	for range 2 {
		var last uint64
		until(t, "the log says where it ends", func() (ok bool) {
			var err error
			_, _, last, err = b.Tail(t.Context(), 0)
			return err == nil
		})
		contains(t, "a reader", payloads(readUpTo(t, b, 0, 0, last)), taken)
		if l := b.Losses(); len(l) > 0 {
			t.Errorf("losses: %+v", l)
		}
		b.Close()
		openLog()
	}
	b.Close()
}
