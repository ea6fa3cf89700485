//go:build linux

package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/bench/perf"
)

// TestMain lets this binary stand in for the real one, which the benchmark starts again as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"serve", "bench-serve", "bench-noop"}, os.Args[1]) {
		main()
	}
	os.Exit(m.Run())
}

func TestBenchMeasuresServersOfTheirOwnAndLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers")
	}
	dir, profiles := t.TempDir(), t.TempDir()
	f := perfFlags{Runs: 1, For: time.Second, Tenants: 3, Events: 10_000, Clients: 10, Profiles: profiles}
	r, err := f.measure(t.Context(), []string{"batch-100", "disk"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Works) != 2 || r.Works[0].Events == 0 || r.Works[0].CPU <= 0 || r.Works[1].Events != 10_000 || r.Works[1].Log <= 0 || r.Works[1].Store <= 0 {
		t.Errorf("%+v", r.Works)
	}
	ratios := 0
	for _, fig := range r.Figures {
		if fig.Ratio > 0 {
			ratios++
		}
	}
	if ratios < 6 {
		t.Errorf("%d figures have a ratio to a ceiling: %+v", ratios, r.Figures)
	}
	if files, err := os.ReadDir(profiles); err != nil || len(files) != 4 {
		t.Errorf("profiles, of processor time and of memory for each: %v, %v", files, err)
	}
	empty(t, dir)
}

func TestBenchKnowsItsParts(t *testing.T) {
	if rest, own := splitParts([]string{"chart", "single", "ingest", "nonsense"}); !slices.Equal(rest, []string{"chart", "ingest", "nonsense"}) || !slices.Equal(own, []string{"single"}) {
		t.Errorf("%v, %v", rest, own)
	}
	if rest, own := splitParts([]string{"all"}); len(rest) != 4 || !slices.Equal(own, perf.Parts()) {
		t.Errorf("%v, %v", rest, own)
	}
}

func TestServersOfTheirOwnAreNotThoseOfAnAddress(t *testing.T) {
	if code := run(t.Context(), []string{"bench", "--parts", "single", "--address", "http://127.0.0.1:1"}); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}
