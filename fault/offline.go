//go:build linux

package fault

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// verifyOffline runs `pulsestream verify` over the data of the stopped server.
func (r *rig) verifyOffline() error {
	out, err := exec.CommandContext(r.ctx, r.binary, "verify", "--data-dir", r.data, "--ledger", filepath.Join(r.scratch, "ledger.jsonl")).CombinedOutput() //nolint:gosec // the binary under test
	if err != nil {
		return fmt.Errorf("pulsestream verify: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
