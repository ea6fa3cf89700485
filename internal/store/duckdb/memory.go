package duckdb

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// machineMemory is how many bytes of memory this process may count on: the machine's, or its control group's if that has less. Where the
// system doesn't tell, a modest number.
func machineMemory() int64 {
	least := int64(4 << 30)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		least = orElse(memTotal(b), least)
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := os.ReadFile(name); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	return least
}

func orElse(n, other int64) int64 {
	if n > 0 {
		return n
	}
	return other
}

// memTotal reads the line MemTotal of /proc/meminfo; 0 when there is none.
func memTotal(meminfo []byte) int64 {
	lines := bufio.NewScanner(bytes.NewReader(meminfo))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
