package duckdb_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
)

const (
	childDir    = "PULSESTREAM_TEST_CHILD_DIR"
	childEvents = "PULSESTREAM_TEST_CHILD_EVENTS" // of each commit
	childLog    = "PULSESTREAM_TEST_CHILD_LOG"    // not empty: it makes no checkpoints, and merges nothing
	childLazy   = "PULSESTREAM_TEST_CHILD_LAZY"   // not empty: its commits are not urgent; it flushes beside them
)

// numbered is a commit that can be checked: it has n events, rollups that count them, and a state and a transition that name it.
func numbered(from store.Offset, n int) *store.Commit {
	l := load{at: from, clock: time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC).Add(time.Duration(from.Seq) * time.Second)}
	c := l.commit(n, 0)
	var a series.Agg
	for i := range c.Events {
		c.Events[i].Tenant = "default"
		a.Add(series.Observation{At: c.Events[i].Time, Value: 1, Numeric: true})
	}
	c.Rollups = []series.Rollup{{Tenant: "default", Metric: 1, Labels: series.Labels{"x"}, Step: time.Minute, Start: series.Align(l.clock, time.Minute), Agg: a}}
	c.States = []alert.State{{Tenant: "default", RuleID: 1, Phase: alert.PhaseFiring, Value: float64(c.To.Seq)}}
	c.Transitions = []alert.Transition{{ID: fmt.Sprint(c.To.Seq), Tenant: "default", Incident: fmt.Sprint(c.To.Seq), Kind: alert.PhaseFiring, StartedAt: l.clock}}
	return c
}

// TestChild is not a test: the tests below start it in a process of its own, to be killed. It commits without end, and says the
// sequence number of each commit that is on disk.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child process")
	}
	n, err := strconv.Atoi(os.Getenv(childEvents))
	if err != nil {
		t.Fatal(err)
	}
	cfg := duckdb.Config{
		Path: filepath.Join(dir, "events.duckdb"), CompactEvery: 5 * time.Millisecond, CheckpointLog: 1 << 20,
		Now: func() time.Time { return time.Now().Add(1000 * time.Hour) }, // so that blocks are due at once
	}
	if os.Getenv(childLog) != "" {
		cfg.CompactEvery = -1
	}
	s, err := duckdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Partition(t.Context(), 0)
	lazy := os.Getenv(childLazy) != ""
	turns := make(chan struct{}, 30) // commits between two flushes
	if lazy {
		go func() {
			for {
				p, err := s.Partition(t.Context(), 0)
				if err = errors.Join(err, s.Flush(t.Context())); err != nil {
					return
				}
				fmt.Println("committed", p.Offset.Seq) //nolint:forbidigo // this is what the parent reads
				for more := true; more; {
					select {
					case turns <- struct{}{}:
					default:
						more = false
					}
				}
			}
		}()
	}
	for at := p.Offset; err == nil; {
		c := numbered(at, n)
		if lazy {
			c.Transitions = nil
			<-turns
		}
		at, err = s.Commit(t.Context(), c)
		if !lazy {
			fmt.Println("committed", at.Seq) //nolint:forbidigo // likewise
		}
	}
	t.Fatal(err)
}

// killed runs TestChild until it has made a number of commits, kills it at some moment of the next one, and gives the last
// commit that it has told of.
func killed(t testing.TB, dir string, events, commits int) uint64 {
	t.Helper()
	return killedAfter(t, dir, events, commits, func() {})
}

// killedAfter is killed, with something done while the child is at work.
func killedAfter(t testing.TB, dir string, events, commits int, meanwhile func()) uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childEvents+"="+strconv.Itoa(events))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told uint64
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); {
		seq, ok := strings.CutPrefix(lines.Text(), "committed ")
		if !ok {
			continue
		}
		if told, err = strconv.ParseUint(seq, 10, 64); err != nil {
			t.Fatal(err)
		}
		if n++; n == commits {
			meanwhile()
			time.AfterFunc(time.Duration(rand.IntN(8000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.Success() {
		t.Fatal("the child ended by itself", err)
	}
	return told
}

func TestAKilledProcessLeavesWholeCommitsOnly(t *testing.T) {
	dir := t.TempDir()
	const each = 50
	for round := range 8 {
		told := killed(t, dir, each, 1+rand.IntN(40))
		s := open(t, dir, nil)
		p, err := s.Partition(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		at := p.Offset.Seq
		if at < told || at > told+1 {
			t.Errorf("round %d: the offset is %d, but commit %d was the last one told of", round, at, told)
		}
		checkWhole(t, s, p, each)
		checkTransitions(t, s, at)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAKilledProcessLeavesWhatWasFlushed(t *testing.T) {
	t.Setenv(childLazy, "yes")
	dir := t.TempDir()
	const each = 50
	for round := range 8 {
		told := killed(t, dir, each, 1+rand.IntN(40))
		s := open(t, dir, nil)
		p, err := s.Partition(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.Offset.Seq < told {
			t.Errorf("round %d: the offset is %d, but %d was on disk", round, p.Offset.Seq, told)
		}
		checkWhole(t, s, p, each)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkWhole checks that everything in the store is of the commits up to its offset.
func checkWhole(t *testing.T, s *duckdb.Store, p store.PartitionState, each uint64) {
	t.Helper()
	at := p.Offset.Seq
	if p.Offset.Revision != at || len(p.States) != 1 || p.States[0].Value != float64(at) {
		t.Errorf("offset %+v goes with states %+v", p.Offset, p.States)
	}
	next := event.Position{Seq: 1}
	if err := s.Scan(t.Context(), "default", store.Scan{}, func(e *event.Stored) error {
		if e.Position != next {
			return fmt.Errorf("event at %+v, want %+v", e.Position, next)
		}
		if next.Index++; uint64(next.Index) == each {
			next = event.Position{Seq: next.Seq + 1}
		}
		return nil
	}); err != nil || next != (event.Position{Seq: at + 1}) {
		t.Errorf("events go up to %+v, the offset is %d: %v", next, at, err)
	}
	for _, step := range series.Resolutions() {
		var a series.Agg
		q := store.RollupQuery{Metric: 1, Step: step, From: time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 4, 14, 0, 0, 0, 0, time.UTC)}
		if err := s.Rollups(t.Context(), "default", q, func(r *series.Rollup) error { a.Merge(&r.Agg); return nil }); err != nil || a.Count != at*each {
			t.Errorf("rollups of %v count %d, want %d: %v", step, a.Count, at*each, err)
		}
	}
	used, err := s.Usage(t.Context(), "default", time.Unix(0, 0), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	counted := uint64(0)
	for _, u := range used {
		counted += uint64(u.Events)
	}
	if err != nil || counted != at*each {
		t.Errorf("usage counts %d events, want %d: %v", counted, at*each, err)
	}
	if files := s.ForeignFiles(); len(files) > 0 {
		t.Errorf("there are files %v", files)
	}
}

func checkTransitions(t *testing.T, s *duckdb.Store, at uint64) {
	t.Helper()
	all, err := s.Transitions(t.Context(), 0, 1<<20)
	if err != nil || uint64(len(all)) != at || at > 0 && all[at-1].Number != at {
		t.Errorf("%d transitions, want %d: %v", len(all), at, err)
	}
}

func TestADamagedFileIsTold(t *testing.T) {
	t.Setenv(childLog, "yes")
	sealed := func(suffix string) func(dir string) string {
		return func(dir string) string {
			all, err := filepath.Glob(filepath.Join(dir, "events.duckdb.segments", "*"+suffix))
			if err != nil || len(all) == 0 {
				t.Fatal(all, err)
			}
			return all[len(all)/2]
		}
	}
	segment, rollups := sealed(".seg"), sealed(".rol")
	for _, c := range []struct {
		name string
		file func(dir string) string
		at   func(size int64) int64
	}{
		{"its first header", func(dir string) string { return filepath.Join(dir, "events.duckdb") }, func(int64) int64 { return 20 }},
		{"the write-ahead log's middle", func(dir string) string { return filepath.Join(dir, "events.duckdb.wal") }, func(size int64) int64 { return size / 2 }},
		{"the write-ahead log's beginning", func(dir string) string { return filepath.Join(dir, "events.duckdb.wal") }, func(int64) int64 { return 60 }},
		{"a segment's beginning", segment, func(int64) int64 { return 3 }},
		{"a segment's directory", segment, func(size int64) int64 { return size - 40 }},
		{"a segment's end", segment, func(size int64) int64 { return size - 1 }},
		{"the beginning of a file of rollups", rollups, func(int64) int64 { return 3 }},
		{"its directory", rollups, func(size int64) int64 { return size - 40 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, nil)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			killed(t, dir, 200, 10)
			flip(t, c.file(dir), c.at)
			_, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(dir, "events.duckdb")})
			if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Open: %v, want ErrDamaged", err)
			}
		})
	}
	for name, file := range map[string]func(dir string) string{"a segment": segment, "a file of rollups": rollups} {
		t.Run(name+" that is missing", func(t *testing.T) {
			dir := t.TempDir()
			killed(t, dir, 200, 3)
			if err := os.Remove(file(dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(dir, "events.duckdb")}); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Open: %v, want ErrDamaged", err)
			}
		})
	}
}

// flip flips one bit of a file.
func flip(t *testing.T, name string, place func(size int64) int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[place(int64(len(b)))] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotDamageIsNotCalledSo(t *testing.T) {
	used := t.TempDir()
	whileOpen := func() {
		if _, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(used, "events.duckdb")}); err == nil || errors.Is(err, store.ErrDamaged) ||
			!strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("Open of another process's file: %v", err)
		}
	}
	killedAfter(t, used, 1, 1, whileOpen)

	dir := t.TempDir()
	path := filepath.Join(dir, "events.duckdb")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := duckdb.Open(t.Context(), duckdb.Config{Path: path}); err == nil || errors.Is(err, store.ErrDamaged) {
		t.Errorf("Open of a folder: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(file, "events.duckdb")}); err == nil || errors.Is(err, store.ErrDamaged) {
		t.Errorf("Open in a file: %v", err)
	}
}
