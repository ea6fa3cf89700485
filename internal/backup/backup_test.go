package backup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/internal/backup"
)

func TestABackupOfARunningServerUnderLoadIsRestoredWithEverythingUpToItsOffsets(t *testing.T) {
	dir, to, fresh := filepath.Join(t.TempDir(), "data"), t.TempDir(), filepath.Join(t.TempDir(), "new")
	s := serve(t, dir)
	s.configure()
	s.send(0, 500)
	incident := firing(t, s)

	quit, stopped := make(chan struct{}), sync.WaitGroup{}
	stopped.Go(func() {
		for n := 500; ; n += 50 {
			select {
			case <-quit:
				return
			default:
				s.send(n, n+50)
			}
		}
	})
	first, second := makeBackup(t, dir, to), makeBackup(t, dir, to)
	close(quit)
	stopped.Wait()
	s.stop()
	if first.Events < 500 || second.Manifest.Count() != first.Events+second.Events || second.Manifest.Number != 2 {
		t.Errorf("added were %d and %d events, in all there are %d", first.Events, second.Events, second.Manifest.Count())
	}

	restored, err := backup.Restore(t.Context(), to, target(fresh), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, got := stored(t, dir), stored(t, fresh)
	for at, ev := range want {
		in := at.Seq <= second.Manifest.Partitions[ev.Partition].Seq
		if r, ok := got[at]; ok != in || ok && !same(ev, r) {
			t.Fatalf("%v: stored was %+v, restored is %+v", at, ev, r)
		}
	}
	if uint64(len(got)) != restored.Events || restored.Events != second.Manifest.Count() {
		t.Errorf("%d events are restored, %d told, %d in the manifest", len(got), restored.Events, second.Manifest.Count())
	}
	sound(t, fresh)

	r := serve(t, fresh)
	sources, err := r.Sources(t.Context())
	if err != nil || len(sources) != 1 {
		t.Errorf("sources: %v, %v", sources, err)
	}
	open, err := r.Incidents(t.Context(), "firing", "big")
	if err != nil || len(open) != 1 || open[0].ID != incident.ID || !open[0].StartedAt.Equal(incident.StartedAt) {
		t.Errorf("incidents: %+v, %v; want %+v", open, err, incident)
	}
	metrics, err := r.Metrics(t.Context())
	if err != nil || !slices.ContainsFunc(metrics, func(m client.Metric) bool { return m.Slug == "amount" && m.Fill != nil && m.Fill.State == "done" }) {
		t.Errorf("metrics: %+v, %v", metrics, err)
	}
	r.send(0, 600) // some are in the backup, some are new to this server
	if receipt, err := r.Send(t.Context(), client.Event{ID: "end", Source: "shop", Type: "end"}); err != nil || receipt.Accepted != 1 {
		t.Fatal(receipt, err)
	}
	eventually(t, func() error { _, err := r.Event(t.Context(), "shop", "end"); return err })
	r.stop()
	ids := map[string]int{}
	for _, ev := range stored(t, fresh) {
		ids[ev.ID]++
	}
	for n := range 600 {
		if ids[fmt.Sprint("e", n)] != 1 {
			t.Fatalf("event %d is stored %d times", n, ids[fmt.Sprint("e", n)])
		}
	}
	sound(t, fresh)
}

// firing waits for the incident of the rule that configure makes.
func firing(t testing.TB, s *server) (found client.Incident) {
	t.Helper()
	eventually(t, func() error {
		all, err := s.Incidents(t.Context(), "firing", "big")
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d incidents", len(all))
		}
		if err == nil {
			found = all[0]
		}
		return err
	})
	return found
}

func TestALaterBackupOnlyAddsFilesOfEvents(t *testing.T) {
	dir, to := made(t, 300), t.TempDir()
	first := makeBackup(t, dir, to)
	before := contents(t, to)
	if again := makeBackup(t, dir, to); again.Events != 0 || again.Files != 0 || again.Manifest.Number != 2 {
		t.Errorf("nothing was new: %+v", again)
	}
	s := serve(t, dir)
	s.send(300, 400)
	second := makeBackup(t, dir, to)
	s.stop()
	after := contents(t, to)
	if first.Events != 300 || second.Events != 100 || second.Manifest.Count() != 400 {
		t.Errorf("%d events, then %d; %d in all", first.Events, second.Events, second.Manifest.Count())
	}
	for name := range before {
		if strings.HasPrefix(name, "events/") && after[name] != before[name] {
			t.Errorf("%s was written again", name)
		}
	}
	want := []string{"manifest.json", "catalog-000003.sqlite", "incidents-000003.jsonl", "quarantine-000003.jsonl", "secrets-key-000003"}
	for _, f := range second.Manifest.Events {
		want = append(want, f.Path)
	}
	if got := slices.Sorted(maps.Keys(after)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("there are %v, want %v", got, want)
	}
	fresh := filepath.Join(t.TempDir(), "new")
	if _, err := backup.Restore(t.Context(), to, target(fresh), nil); err != nil {
		t.Fatal(err)
	}
	want400, got400 := stored(t, dir), stored(t, fresh)
	if !maps.EqualFunc(want400, got400, same) {
		t.Errorf("%d events were restored, %d were there", len(got400), len(want400))
	}
}

func TestARestoredServerGoesOnWithTheBackupThatItWasMadeFrom(t *testing.T) {
	dir, to, fresh := made(t, 200), t.TempDir(), filepath.Join(t.TempDir(), "new")
	makeBackup(t, dir, to)
	if _, err := backup.Restore(t.Context(), to, target(fresh), nil); err != nil {
		t.Fatal(err)
	}
	s := serve(t, fresh)
	s.send(150, 260)
	r := makeBackup(t, fresh, to)
	s.stop()
	if r.Events != 60 || r.Manifest.Count() != 260 {
		t.Errorf("added are %d events, %d in all", r.Events, r.Manifest.Count())
	}
	// The one that it was restored from has gone another way: its numbers mean other events now.
	s = serve(t, dir)
	s.send(200, 300)
	s.drain(300)
	s.stop()
	if _, err := backup.Make(t.Context(), settings(dir, to), nil); !errors.Is(err, backup.ErrOther) {
		t.Errorf("the server that was replaced writes into its successor's backup: %v", err)
	}
}

func TestABackupIsRefusedWhereItWouldDoHarm(t *testing.T) {
	dir, to := made(t, 100), t.TempDir()
	makeBackup(t, dir, to)
	before := contents(t, to)
	if _, err := backup.Make(t.Context(), settings(made(t, 10), to), nil); !errors.Is(err, backup.ErrOther) {
		t.Errorf("over the backup of another installation: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	serve(t, empty).stop()
	if _, err := backup.Make(t.Context(), settings(empty, to), nil); !errors.Is(err, backup.ErrOther) {
		t.Errorf("over a backup, by a server that was begun anew: %v", err)
	}
	if after := contents(t, to); !maps.Equal(before, after) {
		t.Error("a backup that was refused has changed the one that is there")
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Make(t.Context(), settings(dir, other), nil); err == nil {
		t.Error("a directory that holds something else was taken")
	}
	if _, err := backup.Make(t.Context(), settings(t.TempDir(), t.TempDir()), nil); err == nil {
		t.Error("a directory that is no data directory was backed up")
	}
}

func TestARestoreIsRefusedWhereThereIsSomething(t *testing.T) {
	dir, to := made(t, 50), t.TempDir()
	makeBackup(t, dir, to)
	before := contents(t, dir)
	if _, err := backup.Restore(t.Context(), to, target(dir), nil); err == nil {
		t.Error("a data directory was restored over")
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("it was changed")
	}
	if _, err := backup.Restore(t.Context(), t.TempDir(), target(filepath.Join(t.TempDir(), "x")), nil); !errors.Is(err, backup.ErrNone) {
		t.Errorf("an empty directory passes for a backup: %v", err)
	}
}

func TestARestoreThatIsStoppedLeavesTheDirectoryEmpty(t *testing.T) {
	to, fresh := t.TempDir(), filepath.Join(t.TempDir(), "new")
	makeBackup(t, made(t, 2000), to)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := backup.Restore(ctx, to, target(fresh), func(p backup.Progress) {
		if p.Phase == backup.PhaseRestore {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if left := contents(t, fresh); len(left) > 0 {
		t.Errorf("left are %v", slices.Collect(maps.Keys(left)))
	}
	if _, err := backup.Restore(t.Context(), to, target(fresh), nil); err != nil {
		t.Error("the next one:", err)
	}
}

func TestNothingStartsOnARestoreThatWasBrokenOff(t *testing.T) {
	dir := made(t, 10)
	if err := os.WriteFile(filepath.Join(dir, backup.Marker), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Make(t.Context(), settings(dir, t.TempDir()), nil); err == nil || !strings.Contains(err.Error(), "broken off") {
		t.Errorf("it was backed up: %v", err)
	}
	if err := start(t, dir); err == nil || !strings.Contains(err.Error(), "broken off") {
		t.Errorf("a server started: %v", err)
	}
}
