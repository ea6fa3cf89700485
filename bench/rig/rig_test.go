//go:build linux

package rig

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCPUTimeIsReadBehindTheProcessesName(t *testing.T) {
	stat := "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 9 0 12345 1 2"
	if got, err := parseCPU([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", "42 a S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"} {
		if got, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

func TestBusyTimeIsAllButIdle(t *testing.T) {
	if got, err := parseBusy("cpu  100 10 50 1000 500 5 35 0 0 0\ncpu0 1 2 3\n"); err != nil || got != 2*time.Second {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := parseBusy("intr 1 2 3"); err == nil {
		t.Error("nonsense is read")
	}
}

func TestMemoryIsReadInBytes(t *testing.T) {
	if got, err := parseStatus("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n", "VmHWM:"); err != nil || got != 2<<20 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := parseStatus("Name:\tx\n", "VmHWM:"); err == nil {
		t.Error("what is not there is read")
	}
}

func TestADataDirectorysPartsAreToldApart(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"log/jetstream/a/1.blk": 1000, "log/x": 10, "events.duckdb": 300, "events.duckdb.wal": 40, "segments/7": 5, "catalog.sqlite-wal": 7, "lock": 1} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Weigh(dir); err != nil || got != (Disk{Log: 1010, Store: 345, Other: 8}) {
		t.Errorf("%+v, %v", got, err)
	}
}
