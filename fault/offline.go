//go:build linux

package fault

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// verifyOffline runs the operators' own check over the data of the stopped server.
func (r *rig) verifyOffline() error {
	return r.runVerify("--data-dir", r.data, "--ledger", filepath.Join(r.scratch, "ledger.jsonl"))
}

func (r *rig) runVerify(args ...string) error {
	out, err := exec.CommandContext(r.ctx, r.binary, append([]string{"verify"}, args...)...).CombinedOutput() //nolint:gosec // the binary under test
	if err != nil {
		return fmt.Errorf("pulsestream verify: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
