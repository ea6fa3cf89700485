package bench

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// cpu is the CPU time that the server's process has used so far, in seconds, as its /metrics says; 0 when it does not say.
func (r *run) cpu(ctx context.Context) float64 {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(r.Address, "/")+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := r.plain.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	return sample(resp.Body, "process_cpu_seconds_total")
}

// sample reads the value of a metric without labels from the text that Prometheus reads; 0 when it is not there.
func sample(text io.Reader, name string) float64 {
	s := bufio.NewScanner(text)
	for s.Scan() {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(value), 64) // 0 of nonsense
			return v
		}
	}
	return 0
}

// loadAverage is how many processes wanted a CPU over the last minute, where the system tells (Linux); 0 where it does not. Before a
// run it says what else goes on.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64) // 0 of nonsense
	return v
}
