package main

import (
	"context"
	"os"
	"testing"
	"time"
)

// short is a run of the benchmark that measures a little of everything.
func short(dir string) *benchCmd {
	return &benchCmd{Rate: 50, Duration: time.Second, Probes: 2, Breaches: 1, IngestFor: time.Second, Batch: 10, Connections: 1, Queries: 1,
		Receive: "127.0.0.1:0", TempDir: dir}
}

func TestBenchMeasuresEveryPartAndLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	dir := t.TempDir()
	r, err := short(dir).measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Chart.Latency.Count != 2 || r.Chart.Lost+r.Chart.Failed != 0 {
		t.Errorf("chart: %+v", r.Chart)
	}
	if r.Alert.Latency.Count != 1 || r.Alert.Skipped != "" {
		t.Errorf("alert: %+v", r.Alert)
	}
	if r.Ingest.Accepted == 0 || r.Query.Series == 0 || r.Disk.LogPerEvent == 0 || r.Disk.StorePerEvent == 0 {
		t.Errorf("ingest %+v, query %+v, disk %+v", r.Ingest, r.Query, r.Disk)
	}
	empty(t, dir)
}

func TestBenchThatIsStoppedLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a server")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c := short(dir)
	c.Duration = time.Hour
	if r, err := c.measure(ctx); err == nil {
		t.Errorf("a run that was stopped has a result: %+v", r)
	}
	empty(t, dir)
}

func TestBenchRefusesSettingsBeforeItStartsAnything(t *testing.T) {
	dir := t.TempDir()
	if code := run(t.Context(), []string{"bench", "--temp-dir", dir, "--parts", "nonsense"}); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	empty(t, dir)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
