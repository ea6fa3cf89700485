//go:build linux

package perf

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestAFiguresValueIsTheMedianOfItsRuns(t *testing.T) {
	var r Report
	for i, v := range []float64{9, 1, 4} {
		r.note("x", "speed", "m/s", v, ceiling{"light", float64(10 * (i + 1))})
	}
	f := r.Figures[0]
	if len(r.Figures) != 1 || f.Value != 4 || f.Best != 20 || f.Ratio != 0.1333 || len(f.All) != 3 || f.Met != nil {
		t.Errorf("%+v", r.Figures)
	}
	if got := r.figure("x", "speed"); got != 4 {
		t.Errorf("figure = %v", got)
	}
	r.note("x", "speed", "m/s", 6)
	if f := r.Figures[0]; f.Value != 5 {
		t.Errorf("the median of four is %v", f.Value)
	}
}

func TestGoalsAreLimitsFromAboveOrBelowOrShares(t *testing.T) {
	var r Report
	r.note("batch-1000", cpuName, "µs", 5.01)
	r.note("batch-1000", committedName, "events/s", 250_000)
	r.note("single", acceptedName, "events/s", 20_000, ceiling{"no-op server", 39_000})
	want := []bool{false, true, true}
	for i, f := range r.Figures {
		if f.Met == nil || *f.Met != want[i] {
			t.Errorf("%+v, want met = %v", f, want[i])
		}
	}
	if err := r.Missed(); err == nil || !strings.Contains(err.Error(), "CPU an event 5.01 µs, not ≤ 5") || strings.Contains(err.Error(), "committed") {
		t.Errorf("missed: %v", err)
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil || !strings.Contains(b.String(), "250 000 events/s") || strings.Count(b.String(), "MISSED") != 1 {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestEveryGoalIsOfAPartThatThereIs(t *testing.T) {
	for _, g := range goals() {
		if c := (Config{Parts: []string{g.part}, Runs: 1, For: time.Second, Tenants: 1, Events: 10_000, Clients: 1}); c.Validate() != nil {
			t.Errorf("%+v: %v", g, c.Validate())
		}
	}
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	good := Config{Parts: []string{"single"}, Runs: 1, For: time.Second, Tenants: 1, Events: 10_000, Clients: 1}
	for name, change := range map[string]func(*Config){
		"a part":   func(c *Config) { c.Parts = []string{"nonsense"} },
		"no runs":  func(c *Config) { c.Runs = 0 },
		"too long": func(c *Config) { c.For = 2 * time.Hour },
		"tenants":  func(c *Config) { c.Tenants = 0 },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheWorstSecondIsTheOneWithTheSlowestProbes(t *testing.T) {
	start := time.Unix(1000, 0)
	var probes []*probe
	for i := range 40 {
		seen := 10 * time.Millisecond
		if i == 25 {
			seen = 900 * time.Millisecond
		}
		probes = append(probes, &probe{due: start.Add(time.Duration(i) * 50 * time.Millisecond), seen: seen})
	}
	if got := worstSecond(probes); got != 900 {
		t.Errorf("%v ms", got)
	}
}

func TestAClientsDelayCountsFromWhenAnUpdateCouldBeQueried(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, int64(ms)*1e6) }
	a := &audience{seen: map[int][]time.Time{1: {at(30), at(10)}, 2: {at(1035), {}}}}
	fromQueryable, fromSent, missing := a.delays([]update{{1, at(0), at(20)}, {2, at(1000), at(1020)}})
	if missing != 1 || len(fromQueryable) != 3 || fromQueryable[0] != 10*time.Millisecond || fromQueryable[1] != 0 || fromQueryable[2] != 15*time.Millisecond || fromSent[2] != 35*time.Millisecond {
		t.Errorf("%v, %v, %d missing", fromQueryable, fromSent, missing)
	}
}

func TestNumbersAreRoundedToFourDigits(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 1234567: "1 234 567", 12.34567: "12.35", 0.0123456: "0.01235", 999.96: "1 000", -1234.5: "-1 235", 123.45: "123.5"} {
		if got := digits(round(in)); got != want {
			t.Errorf("%v is %s, want %s", in, got, want)
		}
	}
}
