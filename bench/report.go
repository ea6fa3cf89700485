package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Goals, in milliseconds.
const (
	goalChartP50 = 50
	goalChartP99 = 250
	goalAlertMax = 2000
)

// Machine is where the benchmark ran.
type Machine struct {
	CPUs     int    `json:"cpus"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
	// Load is how many processes wanted a CPU in the minute before; 0 where the system does not tell.
	Load float64 `json:"load_average"`
}

// Disk is what events take on disk.
type Disk struct {
	Events        int     `json:"events"`
	LogPerEvent   float64 `json:"log_bytes_per_event"`
	StorePerEvent float64 `json:"store_bytes_per_event"`
}

// Goal is something that must hold.
type Goal struct {
	Name     string  `json:"name"`
	Limit    float64 `json:"limit_ms"`
	Measured float64 `json:"measured_ms"`
	Met      bool    `json:"met"`
	Note     string  `json:"note,omitempty"`
}

// Report is the result of a run.
type Report struct {
	Started   time.Time     `json:"started"`
	Machine   Machine       `json:"machine"`
	InProcess bool          `json:"in_process"`
	Chart     *ChartResult  `json:"event_to_chart,omitempty"`
	Alert     *AlertResult  `json:"breach_to_webhook,omitempty"`
	Ingest    *IngestResult `json:"ingest,omitempty"`
	Query     *QueryResult  `json:"query,omitempty"`
	Disk      *Disk         `json:"disk,omitempty"`
}

// Goals says what of the goals was met, as far as it was measured. A probe or a webhook that never came misses its goal.
func (r *Report) Goals() []Goal {
	var out []Goal
	if c := r.Chart; c != nil {
		note := ""
		if c.Failed+c.Lost > 0 {
			note = fmt.Sprintf("%d of %d probes did not come through", c.Failed+c.Lost, c.Probes)
		}
		out = append(out, goal("event to chart, p50", goalChartP50, c.Latency.P50, note), goal("event to chart, p99", goalChartP99, c.Latency.P99, note))
	}
	if a := r.Alert; a != nil {
		note := a.Skipped
		if lost := a.Failed + a.Lost + a.Early; lost > 0 {
			note = fmt.Sprintf("%d of %d breaches did not come through, or too early", lost, a.Breaches)
		}
		out = append(out, goal("breach to webhook, max", goalAlertMax, a.Latency.Max, note))
	}
	return out
}

func goal(name string, limit, measured float64, note string) Goal {
	return Goal{Name: name, Limit: limit, Measured: measured, Met: note == "" && measured < limit, Note: note}
}

// Missed is an error that names the goals that were not met, or nil.
func (r *Report) Missed() error {
	var missed []string
	for _, g := range r.Goals() {
		if !g.Met {
			missed = append(missed, g.Name)
		}
	}
	if len(missed) == 0 {
		return nil
	}
	return fmt.Errorf("goals missed: %s", strings.Join(missed, "; "))
}

// Events is how many events the run has stored.
func (r *Report) Events() int {
	n := 0
	if r.Chart != nil {
		n += r.Chart.Load.Accepted + r.Chart.Probes
	}
	if r.Alert != nil && r.Alert.Skipped == "" {
		n += r.Alert.Load.Accepted + r.Alert.Breaches*(breachOver+1)
	}
	if r.Ingest != nil {
		n += r.Ingest.Accepted
	}
	if r.Query != nil {
		n += queryEvents
	}
	return n
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		*Report
		Goals []Goal `json:"goals"`
	}{r, r.Goals()})
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	where := "Server in a process of its own"
	if r.InProcess {
		where = "Server and load generator in one process, so CPU time is that of both"
	}
	t := &table{}
	t.line("PulseStream benchmark, %s; %d CPUs, %s, %s", r.Started.Format("2006-01-02 15:04 MST"), r.Machine.CPUs, r.Machine.Platform, r.Machine.Go)
	t.line("%s", where)
	if r.Machine.Load > 0 {
		t.line("Load average before the run: %.1f%s", r.Machine.Load, busyNote(r.Machine))
	}
	r.chartTable(t)
	r.alertTable(t)
	r.ingestTable(t)
	r.queryTable(t)
	if d := r.Disk; d != nil {
		t.section("On disk, after a clean stop (%s events)", count(d.Events))
		t.row("log, per event", fmt.Sprintf("%.0f B", d.LogPerEvent))
		t.row("store, per event", fmt.Sprintf("%.0f B", d.StorePerEvent))
	}
	if goals := r.Goals(); len(goals) > 0 {
		t.section("Goals")
		for _, g := range goals {
			verdict := "met"
			if !g.Met {
				verdict = "MISSED"
			}
			t.row(g.Name, millis(g.Measured), fmt.Sprintf("under %.0f ms", g.Limit), verdict, g.Note)
		}
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// busyNote warns of figures that say more about the machine's other work.
func busyNote(m Machine) string {
	if m.Load > 0.5*float64(m.CPUs) {
		return ": the machine is busy with other things, so expect worse latencies than its own"
	}
	return ""
}

func (r *Report) chartTable(t *table) {
	c := r.Chart
	if c == nil {
		return
	}
	t.section("Event to chart: from just before POST until a WebSocket frame counts the event")
	t.latencies()
	t.latency("probe to chart", c.Latency)
	t.latency("  of it, until acknowledged", c.Ack)
	t.latency("busy chart, before a frame", c.Busy.Before)
	t.latency("busy chart, at a frame", c.Busy.At)
	t.line("  A subscription gets at most one frame a step (1 s). So that this is the pipeline and not that rule, probes take")
	t.line("  turns on %d subscriptions. The busy chart has all events: the age of the oldest one that it did not show yet.", c.Lanes)
	t.line("  %s probes, %d failed, %d never shown", count(c.Probes), c.Failed, c.Lost)
	t.load(c.Load)
	t.cpu(c.CPU, r.InProcess)
}

func (r *Report) alertTable(t *table) {
	a := r.Alert
	if a == nil {
		return
	}
	t.section("Rule breach to webhook: from just before POST of the breaching event until the webhook is received")
	if a.Skipped != "" {
		t.line("  not measured: %s", a.Skipped)
		return
	}
	t.latencies()
	t.latency("breach to webhook", a.Latency)
	t.line("  %d breaches of %d rules, %d failed, %d never delivered, %d delivered too early", a.Breaches, a.Rules, a.Failed, a.Lost, a.Early)
	t.load(a.Load)
}

func (r *Report) ingestTable(t *table) {
	i := r.Ingest
	if i == nil {
		return
	}
	t.section("Ingest: as fast as it goes, batches of %d on %d connections", i.BatchSize, i.Connections)
	t.latencies()
	t.latency("acknowledged", i.Ack)
	t.row("events/s acknowledged", count(int(i.Rate)))
	t.row("all queryable after", millis(i.Drained))
	t.line("  %s events of %.0f B JSON accepted, %d requests refused (back-pressure), %d failed%s", count(i.Accepted), i.EventBytes, i.Refused, i.Errors, reason(i.Error))
	t.cpu(i.CPU, r.InProcess)
}

func (r *Report) queryTable(t *table) {
	q := r.Query
	if q == nil {
		return
	}
	t.section("Query: the last hour in steps of a minute, split by type (%d series of %d points)", q.Series, q.Points)
	t.latencies()
	t.latency("up to now, whole minutes", q.Minutes)
	t.latency("edges within a minute", q.Exact)
}

func reason(err string) string {
	if err == "" {
		return ""
	}
	return ", first: " + err
}

func millis(v float64) string { return fmt.Sprintf("%.1f ms", v) }

// count writes a number with its thousands apart.
func count(n int) string {
	if n < 0 {
		return "-" + count(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return count(n/1000) + fmt.Sprintf(" %03d", n%1000)
}

// table lays out text: a wide first column, then columns of numbers.
type table struct{ strings.Builder }

func (t *table) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

func (t *table) section(format string, args ...any) {
	t.line("")
	t.line(format, args...)
}

func (t *table) row(name string, cells ...string) {
	line := "  " + pad(name, 28, false)
	for _, c := range cells {
		line += "  " + pad(c, 13, true)
	}
	t.line("%s", strings.TrimRight(line, " "))
}

// pad fills a text up to a width in characters.
func pad(s string, width int, right bool) string {
	fill := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if right {
		return fill + s
	}
	return s + fill
}

func (t *table) latencies() { t.row("", "p50", "p90", "p99", "max") }

func (t *table) latency(name string, l Latency) {
	if l.Count > 0 {
		t.row(name, millis(l.P50), millis(l.P90), millis(l.P99), millis(l.Max))
	}
}

func (t *table) load(l LoadResult) {
	t.line("  background: %s events at %s/s, %s accepted, %d requests failed%s; acknowledged p50 %.1f, p99 %.1f ms; generator at most %.1f ms late",
		count(l.Sent), count(int(l.Rate+0.5)), count(l.Accepted), l.Errors, reason(l.Error), l.Ack.P50, l.Ack.P99, l.Late)
}

func (t *table) cpu(perEvent float64, shared bool) {
	if perEvent <= 0 {
		return
	}
	whose := "of the server"
	if shared {
		whose = "of server and generator"
	}
	t.line("  CPU time %s: %.1f µs an event", whose, perEvent)
}
