package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

var epoch = time.Unix(1_800_000_000, 0)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func TestPaceKeepsToItsStartHoweverMuchHasHappened(t *testing.T) {
	p := pace{epoch, 1000}
	for n, want := range map[int]time.Duration{0: 0, 1: time.Millisecond, 1500: 1500 * time.Millisecond, 3_600_000: time.Hour} {
		if got := p.due(n).Sub(epoch); got != want {
			t.Errorf("thing %d is due after %s, want %s", n, got, want)
		}
	}
	if got := (pace{epoch, 3}).due(3_000_000).Sub(epoch); got != 1_000_000*time.Second {
		t.Errorf("with thirds of a second three million things take %s", got)
	}
}

func TestBatchesHaveTheRateAndGoOutWithTheirLastEvent(t *testing.T) {
	b := batches{pace: pace{epoch, 1000}}
	events := 0
	for range 1000 {
		size, due := b.next()
		if size < 10 || size > 50 {
			t.Fatalf("a batch of %d", size)
		}
		events += size
		if want := at(time.Duration(events-1) * time.Millisecond); !due.Equal(want) {
			t.Fatalf("after %d events the batch is due at %s, want %s", events, due, want)
		}
	}
	if events != 30_000 {
		t.Errorf("1000 batches have %d events, want 30 each on average", events)
	}
}

func TestPercentilesAreValuesThatWereMeasured(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Millisecond // not sorted
	}
	for name, c := range map[string]struct {
		in   []time.Duration
		want Latency
	}{
		"none":    {nil, Latency{}},
		"one":     {[]time.Duration{time.Second}, Latency{1, 1000, 1000, 1000, 1000}},
		"two":     {[]time.Duration{3 * time.Millisecond, time.Millisecond}, Latency{2, 1, 3, 3, 3}},
		"hundred": {hundred, Latency{100, 50, 90, 99, 100}},
	} {
		if got := LatencyOf(c.in); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestEventsOfTheLoadAreJSONWithIDsOfTheirOwn(t *testing.T) {
	g := generator{source: "bench-x-load", prefix: "x-chart", types: loadType}
	seen, types, sources := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for first := 0; first < 1000; first += 50 {
		var events []struct {
			ID, Source, Type, Subject string
			Time                      *time.Time
			Data                      struct{ Amount int }
		}
		body := g.batch(first, 50, func(i int) time.Time { return at(time.Duration(i) * time.Second) })
		if err := json.Unmarshal(body, &events); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		for i, e := range events {
			if seen[e.ID] || e.Data.Amount == 0 || e.Time == nil || !e.Time.Equal(at(time.Duration(first+i)*time.Second)) {
				t.Fatalf("event %d: %+v", first+i, e)
			}
			seen[e.ID], types[e.Type], sources[e.Source] = true, true, true
		}
	}
	if len(seen) != 1000 || len(types) != loadTypes || len(sources) != loadSources {
		t.Errorf("%d ids, %d types, %d sources", len(seen), len(types), len(sources))
	}
	if body := g.batch(0, 1, nil); bytes.Contains(body, []byte("time")) || !json.Valid(body) {
		t.Errorf("an event without a time: %s", body)
	}
}

func frameOf(points ...float64) *client.Frame {
	f := &client.Frame{Op: "points", Series: []client.Series{{}}}
	for i, v := range points {
		if !math.IsNaN(v) {
			f.Series[0].Points = append(f.Series[0].Points, client.Point{Time: at(time.Duration(i) * time.Second), Value: &v})
		}
	}
	return f
}

func TestAProbeIsShownByTheFirstFrameThatCountsIt(t *testing.T) {
	l := &lane{steps: map[int64]float64{}, sent: []time.Time{at(0), at(3 * time.Second), at(6 * time.Second)}}
	l.frame(frameOf(0), at(1))
	if l.shown != 0 {
		t.Fatal("a frame that counts nothing shows no probe")
	}
	l.frame(frameOf(1), at(20*time.Millisecond))
	l.frame(frameOf(1), at(time.Second)) // the same point again
	if l.shown != 1 || l.latency[0] != 20*time.Millisecond {
		t.Fatalf("%d shown, %v", l.shown, l.latency)
	}
	l.frame(frameOf(math.NaN(), 2), at(7*time.Second)) // both others at once, in a later step
	if l.shown != 3 || l.latency[1] != 4*time.Second || l.latency[2] != time.Second {
		t.Fatalf("%d shown, %v", l.shown, l.latency)
	}
}

func TestALaneWithAFailedRequestMeasuresNothingMore(t *testing.T) {
	l := &lane{steps: map[int64]float64{}, sent: []time.Time{at(0), at(3 * time.Second)}, broken: true}
	l.frame(frameOf(1), at(4*time.Second))
	if len(l.latency) != 0 {
		t.Fatal("one of the two is counted, but nobody knows which")
	}
}

func TestLanesRestLongerThanAStep(t *testing.T) {
	for _, c := range []struct {
		d      time.Duration
		probes int
	}{{20 * time.Second, 500}, {20 * time.Second, 1}, {time.Second, 400}, {time.Hour, 500}} {
		n := lanesFor(c.d, c.probes)
		if rest := c.d / time.Duration(c.probes) * time.Duration(n); rest < laneRest || n < 1 {
			t.Errorf("%d probes in %s: %d lanes rest for %s", c.probes, c.d, n, rest)
		}
	}
}

func TestABusyChartIsBehindByTheOldestEventThatItDoesNotShow(t *testing.T) {
	log := []sent{{at(100 * time.Millisecond), 10}, {at(0), 10}, {at(time.Second), 10}, {at(2 * time.Second), 10}} // as they were noted
	frames := []busyFrame{{at(0), 0}, {at(500 * time.Millisecond), 15}, {at(1500 * time.Millisecond), 30}, {at(3 * time.Second), 40}}
	before, now := behind(frames, log)
	want := []time.Duration{500 * time.Millisecond, 1400 * time.Millisecond}
	wantAt := []time.Duration{400 * time.Millisecond, 0}
	for i := range want {
		if len(before) != 2 || before[i] != want[i] || now[i] != wantAt[i] {
			t.Fatalf("%v and %v, want %v and %v: the frame after the end of the load says nothing", before, now, want, wantAt)
		}
	}
	if before, _ := behind(frames, nil); before != nil {
		t.Error("nothing is behind without a load")
	}
}

func TestTheReceiverNotesTheFirstFiringAndTheEnd(t *testing.T) {
	in := &receiver{first: map[string]time.Time{}, ended: map[string]bool{}}
	post := func(state string) {
		body := `{"type":"incident.` + state + `","data":{"incident":{"rule":"r","state":"` + state + `","labels":{"type":"a"}}}}`
		w := httptest.NewRecorder()
		in.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != http.StatusNoContent {
			t.Fatal(w.Code)
		}
	}
	post("firing")
	first, ok := in.arrived("r a")
	if !ok || in.open() != 1 {
		t.Fatalf("%v, %d open", ok, in.open())
	}
	post("firing")
	post("resolved")
	if again, _ := in.arrived("r a"); !again.Equal(first) || in.open() != 0 {
		t.Fatalf("%v after %v, %d open", again, first, in.open())
	}
}

func TestASampleIsReadFromThePrometheusText(t *testing.T) {
	text := "# HELP process_cpu_seconds_total x\nprocess_cpu_seconds_total{a=\"b\"} 7\nprocess_cpu_seconds_total 12.5\n"
	if got := sample(strings.NewReader(text), "process_cpu_seconds_total"); got != 12.5 {
		t.Errorf("got %v", got)
	}
	if got := sample(strings.NewReader(text), "absent"); got != 0 {
		t.Errorf("got %v", got)
	}
}

func full() *Report {
	lat := Latency{500, 1.9, 5.2, 30.25, 79}
	load := LoadResult{Rate: 999.6, Sent: 20_970, Accepted: 20_970, Ack: lat}
	return &Report{Started: epoch.UTC(), Machine: Machine{2, "linux/amd64", "go1.26", 0.2}, InProcess: true,
		Chart:  &ChartResult{Latency: lat, Ack: lat, Probes: 500, Lanes: 63, Busy: Busy{20, lat, lat}, Load: load, CPU: 123.4},
		Alert:  &AlertResult{Latency: lat, Breaches: 25, Rules: 5, Load: load},
		Ingest: &IngestResult{Accepted: 1_234_567, Rate: 53_955, Ack: lat, BatchSize: 100, Connections: 8, EventBytes: 289, Drained: 244.5, CPU: 18.2},
		Query:  &QueryResult{Minutes: lat, Exact: lat, Series: 21, Points: 61},
		Disk:   &Disk{1_276_507, 269, 100}}
}

func TestTheTableHasEveryFigureInLine(t *testing.T) {
	var b strings.Builder
	if err := full().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"                                          p50            p90            p99            max\n",
		"  probe to chart                       1.9 ms         5.2 ms        30.2 ms        79.0 ms\n",
		"  events/s acknowledged                53 955\n", "1 234 567 events of 289 B JSON", "63 subscriptions", "CPU time of server and generator: 123.4 µs an event",
		"  event to chart, p99                 30.2 ms   under 250 ms            met\n", "breach to webhook", "1 000/s", "269 B",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if line != strings.TrimRight(line, " ") || strings.Contains(line, "%!") {
			t.Errorf("line %q", line)
		}
	}
}

func TestTheReportIsJSONWithItsGoals(t *testing.T) {
	var b bytes.Buffer
	if err := full().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Chart struct {
			Latency Latency `json:"latency"`
		} `json:"event_to_chart"`
		Goals []Goal `json:"goals"`
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Chart.Latency.P99 != 30.25 || len(got.Goals) != 3 || !got.Goals[0].Met {
		t.Fatalf("%v: %s", err, b.Bytes())
	}
}

func TestGoalsAreMissed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Report)
		want   string // what Missed names, empty for nothing
	}{
		"none":                {func(*Report) {}, ""},
		"p50 at the limit":    {func(r *Report) { r.Chart.Latency.P50 = goalChartP50 }, "event to chart, p50"},
		"p99":                 {func(r *Report) { r.Chart.Latency.P99 = 251 }, "event to chart, p99"},
		"a lost probe":        {func(r *Report) { r.Chart.Lost = 1 }, "event to chart, p50"},
		"a late webhook":      {func(r *Report) { r.Alert.Latency.Max = 2001 }, "breach to webhook, max"},
		"a lost webhook":      {func(r *Report) { r.Alert.Lost = 1 }, "breach to webhook, max"},
		"an early webhook":    {func(r *Report) { r.Alert.Early = 1 }, "breach to webhook, max"},
		"webhooks impossible": {func(r *Report) { r.Alert = &AlertResult{Skipped: "no way"} }, "breach to webhook, max"},
		"parts left out":      {func(r *Report) { r.Chart, r.Alert = nil, nil }, ""},
	} {
		r := full()
		c.change(r)
		err := r.Missed()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSettingsThatCannotBeMeasuredAreRefused(t *testing.T) {
	good := Config{Rate: 1000, Duration: 20 * time.Second, Probes: 500, Breaches: 25, IngestFor: 10 * time.Second, BatchSize: 100, Connections: 8, Queries: 200}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"part": func(c *Config) { c.Parts = []string{"charts"} }, "rate": func(c *Config) { c.Rate = 0 }, "duration": func(c *Config) { c.Duration = 0 },
		"batch": func(c *Config) { c.BatchSize = 10_001 }, "probes": func(c *Config) { c.Probes = 0 }, "too many probes": func(c *Config) { c.Probes = 1_000_000 },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWaitingEndsWithTheReason(t *testing.T) {
	broken := errors.New("broken")
	err := until(t.Context(), time.Millisecond, time.Microsecond, "it works", func() (bool, error) { return false, broken })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := until(t.Context(), time.Minute, time.Microsecond, "it works", func() (bool, error) { return true, nil }); err != nil {
		t.Error(err)
	}
}

func TestNumbersHaveTheirThousandsApart(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1 000", 1_000_050: "1 000 050", -12_345: "-12 345"} {
		if got := count(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
