//go:build linux

package perf

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Report is the result of a run.
type Report struct {
	Started   time.Time `json:"started"`
	CPUs      int       `json:"cpus"`
	Processor string    `json:"processor,omitempty"`
	Go        string    `json:"go"`
	// Load is how many processes wanted a CPU in the minute before.
	Load    string   `json:"load_average,omitempty"`
	Runs    int      `json:"runs"`
	Figures []Figure `json:"figures"`
	// Works are the loads, run by run.
	Works []Work `json:"works,omitempty"`
}

// Missed is an error that names the goals that were not met, or nil.
func (r *Report) Missed() error {
	var missed []string
	for _, f := range r.Figures {
		if f.Met != nil && !*f.Met {
			missed = append(missed, fmt.Sprintf("%s: %s %s %s, not %s", f.Part, f.Name, digits(f.Value), f.Unit, f.Goal))
		}
	}
	if len(missed) == 0 {
		return nil
	}
	return fmt.Errorf("goals missed: %s", strings.Join(missed, "; "))
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "PulseStream benchmark, %s; %d CPUs (%s), %s, load average before %s; medians of %d\n", r.Started.Format("2006-01-02 15:04 MST"),
		r.CPUs, r.Processor, r.Go, r.Load, r.Runs)
	part := ""
	for i := range r.Figures {
		f := &r.Figures[i]
		if f.Part != part {
			part = f.Part
			fmt.Fprintf(&b, "\n%s %s %s %s  %s\n", cell(part, -44), cell("measured", 12), cell("", -9), cell("goal", 16), "ratio to ceiling")
		}
		verdict, ratio := "", ""
		if f.Met != nil && !*f.Met {
			verdict = "  MISSED"
		}
		if f.Ceiling != "" {
			ratio = fmt.Sprintf("%s of %s %s (%s)", digits(f.Ratio), digits(f.Best), f.Unit, f.Ceiling)
		}
		line := fmt.Sprintf("  %s %s %s %s  %s%s", cell(f.Name, -42), cell(digits(f.Value), 12), cell(f.Unit, -9), cell(f.Goal, 16), ratio, verdict)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell fills a text up to a width, to the right when it is negative.
func cell(s string, width int) string {
	fill := strings.Repeat(" ", max(0, max(width, -width)-utf8.RuneCountInString(s)))
	if width < 0 {
		return s + fill
	}
	return fill + s
}

// digits writes a number with its thousands apart.
func digits(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + " " + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}
