package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestADemoDoesNotMixWithOtherData(t *testing.T) {
	base := t.TempDir()
	server := filepath.Join(base, "server")
	if err := os.Mkdir(server, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(server, "catalog.sqlite"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (&demoCmd{DataDir: server}).dataDir(); err == nil {
		t.Error("a server's directory is taken")
	}
	c := &demoCmd{DataDir: filepath.Join(base, "new", "directory")}
	for range 2 { // made, and used again
		dir, remove, err := c.dataDir()
		if err != nil || dir != c.DataDir {
			t.Fatalf("%q, %v", dir, err)
		}
		if err := remove(); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "catalog.sqlite"), nil, 0o600); err != nil {
			t.Errorf("a directory that was named is not kept: %v", err)
		}
	}
	dir, remove, err := (&demoCmd{}).dataDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is not removed: %v", dir, err)
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "0.0.0.0:8080": "http://127.0.0.1:8080", "[::]:8080": "http://127.0.0.1:8080", "192.0.2.7:80": "http://192.0.2.7:80",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
