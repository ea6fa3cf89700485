package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// smallDisk is a directory on a file system of its own; grow makes it larger. Without the right to mount, the test is skipped.
func smallDisk(t *testing.T, size string) (dir string, grow func(size string)) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a real server: left out of -short")
	}
	dir = t.TempDir()
	mount := func(options string) error {
		out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := mount("size=" + size); err != nil {
		t.Skipf("a small disk cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir, func(size string) {
		if err := mount("remount,size=" + size); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskRefusesEventsAnswersQuestionsAndLosesNone(t *testing.T) {
	t.Parallel()
	dir, grow := smallDisk(t, "64m")
	s := startServer(t, &server{dir: dir, env: []string{"PULSESTREAM_BOOTSTRAP_API_KEY=" + administratorKey}})
	taken, refused := s.fillDisk()
	if p := wantProblem(t, refused, http.StatusServiceUnavailable); p.Detail == "" {
		t.Error("nothing is said of why")
	}
	t.Logf("%d events fit", len(taken))
	least := 1 // what is stored stays so; what is taken and does not fit into the store any more waits in the log
	stored := func() error {
		n, err := s.stored(taken)
		if err == nil && n < least {
			return fmt.Errorf("%d events are stored, there were %d", n, least)
		}
		least = max(n, least)
		return err
	}
	eventually(t, 30*time.Second, stored)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full to the last byte: %v", err)
	}
	sealed, err := filepath.Glob(filepath.Join(dir, "events.duckdb.segments", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, restart := range []func(){func() {}, s.restartUnready} {
		restart()
		least = min(len(sealed), 1) // what was in memory only waits in the log, which is not read on a disk without a free byte
		for range 10 {
			if err := stored(); err != nil {
				t.Fatalf("on a disk that is full to the last byte: %v", err)
			}
		}
		p := wantProblem(t, s.exchange("GET", "/readyz", nil, nil), http.StatusServiceUnavailable)
		if !strings.Contains(p.Detail, "full") && !strings.Contains(p.Detail, "space") {
			t.Errorf("/readyz says %q", p.Detail)
		}
	}
	grow("512m")
	eventually(t, 30*time.Second, func() error {
		_, err := s.Send(t.Context(), client.Event{Type: "again"})
		return err
	})
	eventually(t, 30*time.Second, func() error {
		n, err := s.stored(taken)
		if err == nil && n < len(taken) {
			err = fmt.Errorf("%d of %d acknowledged events are stored", n, len(taken))
		}
		return err
	})
}

// restartUnready kills the process and starts another, which can be asked but takes no events.
func (s *server) restartUnready() {
	s.t.Helper()
	s.kill()
	ready := s.launch()
	select {
	case s.url = <-ready:
	case <-s.proc.exited:
		s.t.Fatalf("the server ended as it started: %v", s.proc.err)
	case <-time.After(startTimeout):
		s.t.Fatalf("the server was not there within %s", startTimeout)
	}
	s.Client = client.New(s.url, administratorKey)
}

// fillDisk sends events that don't compress until one is refused.
func (s *server) fillDisk() (taken map[string]bool, refused *client.Response) {
	s.t.Helper()
	noise := make([]byte, 100<<10)
	taken = map[string]bool{}
	for i := range 2000 {
		if _, err := rand.Read(noise); err != nil {
			s.t.Fatal(err)
		}
		id := strconv.Itoa(i)
		body := fmt.Sprintf(`{"type":"noise","source":"disk","id":%q,"data":%q}`, id, base64.StdEncoding.EncodeToString(noise))
		r := s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), []byte(body))
		if r.Status != http.StatusAccepted {
			return taken, r
		}
		taken[id] = true
	}
	s.t.Fatal("the disk does not fill")
	return nil, nil
}

// stored says how many of these events are.
func (s *server) stored(ids map[string]bool) (n int, err error) {
	all, err := s.AllEvents(s.t.Context(), client.EventQuery{Source: "disk", Limit: 50})
	for _, e := range all {
		if ids[e.ID] {
			n++
		}
	}
	return n, err
}
