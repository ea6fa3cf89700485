// Package limittest holds what every limit.Meter has to do, whoever keeps the count.
package limittest

import (
	"math"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit"
)

// Clock is a time that a test moves.
type Clock struct{ now time.Time }

// NewClock makes one.
func NewClock() *Clock { return &Clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

// Now is the time.
func (c *Clock) Now() time.Time { return c.now }

// Step moves it, backwards too.
func (c *Clock) Step(d time.Duration) { c.now = c.now.Add(d) }

// Run runs the suite on meters that the constructor makes, each with nothing used and with that clock.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) limit.Meter) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, m limit.Meter, clock *Clock){
		"a second's worth may come at once, then it takes as long as the rate says": testBurst,
		"the rate is held on average":                                                                              testAverage,
		"a request that is let in may overdraw, and that is paid for":                                              testOverdraft,
		"what is given back can be taken again":                                                                    testGiveBack,
		"a limit below one a second lets one through at a time":                                                    testSlow,
		"tenants don't use up each other's limit":                                                                  testTenants,
		"a clock that is set back stops nobody, and one that is set forward lets in no more than a second's worth": testJumps,
		"a changed limit holds at once":                                                                            testChange,
	} {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, open(t, clock.Now), clock)
		})
	}
}

// spend takes until it is refused.
func spend(t *testing.T, m limit.Meter, perSecond, n float64) (taken float64) {
	t.Helper()
	for range 1_000_000 {
		if !m.Take("t", perSecond, n).Allowed {
			return taken
		}
		taken += n
	}
	t.Fatal("never refused")
	return 0
}

func near(a, b float64) bool { return math.Abs(a-b) <= 0.001+math.Abs(b)/1e6 }

func testBurst(t *testing.T, m limit.Meter, clock *Clock) {
	if got := spend(t, m, 100, 1); got != 100 {
		t.Fatalf("%g events at once, the limit is 100 a second", got)
	}
	u := m.Take("t", 100, 1)
	if u.Allowed || !near(u.Used, 100) {
		t.Fatalf("%+v", u)
	}
	clock.Step(9999 * time.Microsecond)
	if m.Take("t", 100, 1).Allowed {
		t.Error("allowed before its time")
	}
	clock.Step(2 * time.Microsecond)
	if u := m.Take("t", 100, 1); !u.Allowed || u.Used > 100 {
		t.Errorf("after a hundredth of a second: %+v", u)
	}
	clock.Step(time.Hour)
	if got := spend(t, m, 100, 1); got != 100 {
		t.Errorf("%g events after an hour, the limit is 100 a second", got)
	}
}

func testAverage(t *testing.T, m limit.Meter, clock *Clock) {
	sent := 0.0
	for range 2000 { // ten seconds, ten times too much
		if m.Take("t", 100, 5).Allowed {
			sent += 5
		}
		clock.Step(5 * time.Millisecond)
	}
	if sent < 1090 || sent > 1105 {
		t.Errorf("%g events in ten seconds; 100 at once, and 100 a second", sent)
	}
}

func testOverdraft(t *testing.T, m limit.Meter, clock *Clock) {
	if u := m.Take("t", 100, 1); !u.Allowed {
		t.Fatalf("%+v", u)
	}
	m.Add("t", 100, 999) // a request of 1000 events
	u := m.Take("t", 100, 1)
	if u.Allowed || !near(u.Used, 1000) {
		t.Fatalf("%+v", u)
	}
	clock.Step(9 * time.Second)
	if u := m.Take("t", 100, 1); u.Allowed || !near(u.Used, 100) {
		t.Errorf("%+v", u)
	}
	clock.Step(11 * time.Millisecond)
	if u := m.Take("t", 100, 1); !u.Allowed {
		t.Errorf("%+v", u)
	}
}

func testGiveBack(t *testing.T, m limit.Meter, _ *Clock) {
	for range 1000 {
		if u := m.Take("t", 10, 10); !u.Allowed {
			t.Fatalf("%+v", u)
		}
		m.Add("t", 10, -10)
	}
	m.Add("t", 10, -1000) // more than there is
	if got := spend(t, m, 10, 1); got != 10 {
		t.Errorf("%g at once, the limit is 10", got)
	}
}

func testSlow(t *testing.T, m limit.Meter, clock *Clock) {
	for range 3 {
		if got := spend(t, m, 0.1, 1); got != 1 {
			t.Fatalf("%g at once", got)
		}
		clock.Step(9900 * time.Millisecond)
		if m.Take("t", 0.1, 1).Allowed {
			t.Fatal("allowed after 9.9 seconds, the limit is one in ten")
		}
		clock.Step(200 * time.Millisecond)
	}
}

func testTenants(t *testing.T, m limit.Meter, _ *Clock) {
	spend(t, m, 10, 1)
	if !m.Take("other", 10, 1).Allowed {
		t.Error("refused for what another has used")
	}
}

func testJumps(t *testing.T, m limit.Meter, clock *Clock) {
	spend(t, m, 100, 1)
	clock.Step(-24 * time.Hour)
	if m.Take("t", 100, 1).Allowed {
		t.Error("a clock that is set back gives something")
	}
	clock.Step(time.Second)
	if got := spend(t, m, 100, 1); got != 100 {
		t.Errorf("a second after the clock was set back a day: %g", got)
	}
	clock.Step(365 * 24 * time.Hour)
	if got := spend(t, m, 100, 1); got != 100 {
		t.Errorf("after the clock was set forward a year: %g", got)
	}
}

func testChange(t *testing.T, m limit.Meter, clock *Clock) {
	spend(t, m, 1000, 1)
	if u := m.Take("t", 10, 1); u.Allowed || !near(u.Used, 1000) {
		t.Errorf("%+v", u)
	}
	if got := spend(t, m, 3000, 1); got != 2000 {
		t.Errorf("%g more after the limit was raised to 3000", got)
	}
	clock.Step(time.Second)
	if got := spend(t, m, 3000, 1); got != 3000 {
		t.Errorf("%g a second later", got)
	}
}
