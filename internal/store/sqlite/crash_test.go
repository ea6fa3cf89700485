package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
)

// crashDir tells the test binary to be the process that is killed.
const crashDir = "PULSESTREAM_TEST_CRASH_DIR"

// TestAKilledProcessLosesNothingThatReturned kills a writing process at once (SIGKILL), a few times over the same file.
func TestAKilledProcessLosesNothingThatReturned(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "catalog.sqlite")
	var revision int64
	var returned []int
	for round := range 4 {
		returned = append(returned, killAfter(t, dir, 15+10*round)...)
		last := returned[len(returned)-1]
		if damage, err := sqlite.Inspect(t.Context(), path); err != nil || len(damage) > 0 {
			t.Errorf("round %d: a kill looks like damage: %v, %v", round, damage, err)
		}
		s := open(t, path)
		now := look(t, s)
		if now.position != last && now.position != last+1 {
			t.Errorf("round %d: step %d was the last to return, the cursor stands at %d", round, last, now.position)
		}
		// A step enqueues two jobs, then puts a resource.
		if now.jobs != 2*now.position {
			t.Errorf("round %d: the cursor stands at %d, with %d jobs", round, now.position, now.jobs)
		}
		for _, step := range returned {
			if !now.steps[step] {
				t.Errorf("round %d: the resource of step %d, which had returned, is gone", round, step)
			}
		}
		if now.revision != int64(len(now.steps)) || now.revision <= revision {
			t.Errorf("round %d: the revision is %d after %d, with %d resources", round, now.revision, revision, len(now.steps))
		}
		revision = now.revision
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type crashed struct {
	position int
	jobs     int
	steps    map[int]bool // whose resource is there
	revision int64
}

func look(t *testing.T, s *sqlite.Store) crashed {
	t.Helper()
	position, err := s.Position(t.Context(), "tail")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := s.Jobs(t.Context(), "acme", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context(), "acme", store.KindRule)
	if err != nil {
		t.Fatal(err)
	}
	steps, ids := map[int]bool{}, map[int64]bool{}
	for _, r := range list {
		step, err := strconv.Atoi(strings.TrimPrefix(r.Slug, "r-"))
		if err != nil {
			t.Fatal(err)
		}
		steps[step], ids[r.ID] = true, true
	}
	if len(ids) != len(list) {
		t.Errorf("%d resources have %d ids", len(list), len(ids))
	}
	return crashed{position: int(position), jobs: len(jobs), steps: steps, revision: revision}
}

// killAfter starts a writing process, kills it when n more steps have returned, and says which have.
func killAfter(t *testing.T, dir string, n int) (returned []int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledProcessLosesNothingThatReturned$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() { // until the end: what it said before it died counts
		step, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the process said %q", lines.Text())
			continue
		}
		if returned = append(returned, step); len(returned) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(returned) < n {
		t.Fatalf("the process ended by itself after %d steps", len(returned))
	}
	return returned
}

// writeUntilKilled says on standard output which step has returned.
func writeUntilKilled(t *testing.T, dir string) {
	s := open(t, filepath.Join(dir, "catalog.sqlite"))
	position, err := s.Position(t.Context(), "tail")
	if err != nil {
		t.Fatal(err)
	}
	for i := int(position) + 1; ; i++ {
		now := time.Now()
		var jobs []store.Job
		for _, channel := range []string{"a", "b"} {
			jobs = append(jobs, store.Job{ID: fmt.Sprintf("%d-%s", i, channel), Tenant: "acme", Channel: channel, CreatedAt: now})
		}
		if err := s.Enqueue(t.Context(), "tail", uint64(i), jobs); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: fmt.Sprintf("r-%d", i), IfRevision: -1, At: now}); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(os.Stdout, i); err != nil {
			t.Fatal(err)
		}
	}
}
