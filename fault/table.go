//go:build linux

package fault

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteTable writes rows as a table in Markdown, which also reads well on a terminal.
func WriteTable(w io.Writer, rows []Row) {
	head := []string{"scenario", "runs", "faults", "sent", "acknowledged", "lost", "doubled", "phantom", "other", "detected", "ready p50", "ready max", "resumed max", "verdict", "notes"}
	lines := [][]string{head}
	for i := range rows {
		lines = append(lines, rows[i].cells())
	}
	widths := make([]int, len(head))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	fmt.Fprintln(w)
	for n, l := range lines {
		for i, c := range l {
			if i == len(l)-1 {
				fmt.Fprintf(w, "| %s |\n", c)
				continue
			}
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", widths[i]-len([]rune(c))))
		}
		if n == 0 {
			fmt.Fprintln(w, "|"+strings.Repeat("---|", len(head)))
		}
	}
}

func (row *Row) cells() []string {
	verdict := "ok"
	switch {
	case row.Skipped != "":
		verdict = "skipped"
	case row.Failed > 0:
		verdict = fmt.Sprintf("%d failed", row.Failed)
	}
	notes := strings.Join(row.Notes, "; ")
	if row.Skipped != "" {
		notes = row.Skipped
	}
	for _, o := range slices.Sorted(maps.Keys(row.Outcomes)) {
		notes += fmt.Sprintf(" %d %s", row.Outcomes[o], o)
	}
	if row.NamedLost > 0 {
		notes += fmt.Sprintf(" (%d events, each named)", row.NamedLost)
	}
	l := &row.Ledger
	n := func(v int) string { return fmt.Sprint(v) }
	detected := "–"
	if row.Detected > 0 {
		detected = n(row.Detected)
	}
	return []string{row.Scenario, n(row.Runs), n(row.Faults), n(l.Sent), n(l.Acknowledged), n(l.Lost), n(l.Doubled), n(l.Phantom), fmt.Sprint(row.Wrong), detected,
		quantile(row.Ready, 0.5), quantile(row.Ready, 1), quantile(row.Resumed, 1), verdict, strings.TrimSpace(notes)}
}

func quantile(all []time.Duration, q float64) string {
	if len(all) == 0 {
		return "–"
	}
	all = slices.Clone(all)
	slices.Sort(all)
	d := all[int(q*float64(len(all)-1))]
	return d.Round(10 * time.Millisecond).String()
}
