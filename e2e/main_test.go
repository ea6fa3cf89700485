package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pulsestream/pulsestream/internal/bus/bustest"
)

// binaryVariable names the binary under test.
const binaryVariable = "PULSESTREAM_BIN"

// TestMain builds the binary once when none was given.
func TestMain(m *testing.M) {
	if bustest.Serve() {
		return
	}
	// Most tests wait most of the time: for windows to pass and for retries. More of them at a time than there are cores do no harm.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	flag.Parse()
	if testing.Short() || os.Getenv(binaryVariable) != "" {
		m.Run()
		return
	}
	dir, err := os.MkdirTemp("", "pulsestream-e2e-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "pulsestream")
	build := exec.Command("go", "build", "-o", binary, "../cmd/pulsestream")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the binary could not be built, so no server will start:", err)
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		panic(err)
	}
	m.Run()
}
