// Package verify checks that an installation has kept its promise: every acknowledged event is stored, nothing is stored twice,
// nothing is stored that nobody sent, and every rollup equals what the raw events say.
//
// It computes by itself what it compares with, from the raw events and the metrics' programs, and shares no code with the stages
// that it checks but the programs. Offline looks into the data directory of a server that is stopped, Online asks
// a running one through its API.
package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
)

// maxExamples bounds the examples that a check reports.
const maxExamples = 10

// Report is what a verification found.
type Report struct {
	Target   string        `json:"target"`
	OK       bool          `json:"ok"`
	Checks   []*Check      `json:"checks"`
	Ledger   *LedgerResult `json:"ledger,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// Check is one thing that was checked.
type Check struct {
	Name       string   `json:"name"`
	Looked     uint64   `json:"looked"` // at how many things
	What       string   `json:"what"`   // these things are
	Violations uint64   `json:"violations"`
	Examples   []string `json:"examples,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

// LedgerResult compares a sender's ledger with what is stored. All but Doubled count events of the ledger.
type LedgerResult struct {
	ledger.Totals
	Stored      int `json:"stored"`      // of the ledger's events
	Lost        int `json:"lost"`        // acknowledged, but neither stored nor accounted for
	Doubled     int `json:"doubled"`     // stored more than once: how often too many
	Phantom     int `json:"phantom"`     // stored but refused each time, or never sent
	Altered     int `json:"altered"`     // stored with another type, time or data than sent
	Quarantined int `json:"quarantined"` // acknowledged, not stored, and in quarantine
	Dropped     int `json:"dropped"`     // acknowledged, not stored, and named as lost or dropped by a policy
}

func (r *Report) check(name, what string) *Check {
	c := &Check{Name: name, What: what}
	r.Checks = append(r.Checks, c)
	return c
}

func (c *Check) violation(format string, args ...any) {
	c.Violations++
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

func (c *Check) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (r *Report) finish(began, now time.Time) {
	r.Duration = now.Sub(began)
	r.OK = r.Violations() == 0
}

// Violations is how many there are in all checks.
func (r *Report) Violations() (n uint64) {
	for _, c := range r.Checks {
		n += c.Violations
	}
	return n
}

// WriteJSON writes the report for a program.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s, verified in %s", r.Target, r.Duration.Round(time.Millisecond))
	for _, c := range r.Checks {
		verdict := "ok  "
		if c.Violations > 0 {
			verdict = "FAIL"
		}
		p.line("%s  %-34s %12d %s", verdict, c.Name, c.Looked, c.What)
		for _, n := range c.Notes {
			p.line("      %s", n)
		}
		for _, e := range c.Examples {
			p.line("      - %s", e)
		}
		if more := c.Violations - uint64(len(c.Examples)); more > 0 {
			p.line("      - and %d more", more)
		}
	}
	if l := r.Ledger; l != nil {
		p.line("ledger: %d sent, %d acknowledged, %d refused, %d unknown; %d stored, %d lost, %d doubled, %d phantom, %d altered, %d quarantined, %d dropped",
			l.Sent, l.Acknowledged, l.Refused, l.Unknown, l.Stored, l.Lost, l.Doubled, l.Phantom, l.Altered, l.Quarantined, l.Dropped)
	}
	if r.OK {
		p.line("Everything is as it should be.")
	} else {
		p.line("%d violations.", r.Violations())
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
