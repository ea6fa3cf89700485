package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os/exec"
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

func TestAFullDiskRefusesEventsAndLosesNone(t *testing.T) {
	t.Parallel()
	dir, grow := smallDisk(t, "64m")
	s := startServer(t, &server{dir: dir, env: []string{"PULSESTREAM_BOOTSTRAP_API_KEY=" + administratorKey}})
	noise := make([]byte, 100<<10)
	taken := map[string]bool{}
	var refused *client.Response
	for i := 0; refused == nil; i++ {
		if i > 2000 {
			t.Fatal("the disk does not fill")
		}
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint(i)
		body := fmt.Sprintf(`{"type":"noise","source":"disk","id":%q,"data":%q}`, id, base64.StdEncoding.EncodeToString(noise))
		r := s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), []byte(body))
		if r.Status == http.StatusAccepted {
			taken[id] = true
		} else {
			refused = r
		}
	}
	if p := wantProblem(t, refused, http.StatusServiceUnavailable); p.Detail == "" {
		t.Error("nothing is said of why")
	}
	t.Logf("%d events fit", len(taken))
	allThere := func() error {
		all, err := s.AllEvents(t.Context(), client.EventQuery{Source: "disk", Limit: 50})
		if err != nil {
			return err
		}
		found := 0
		for _, e := range all {
			if taken[e.ID] {
				found++
			}
		}
		if found != len(taken) {
			return fmt.Errorf("%d of %d acknowledged events are stored", found, len(taken))
		}
		return nil
	}
	grow("512m")
	if err := poll(t.Context(), 15*time.Second, func() error {
		_, err := s.Send(t.Context(), client.Event{Type: "again"})
		return err
	}); err != nil {
		t.Logf("with room on the disk again, events are taken only after a restart: %v", err)
		s.kill()
		s.start()
		s.send(client.Event{Type: "again"})
	}
	eventually(t, 30*time.Second, allThere)
}
