package bus_test

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/bus/bustest"
)

// TestMain lets the test's binary be a server of a cluster.
func TestMain(m *testing.M) {
	if bustest.Serve() {
		return
	}
	m.Run()
}
