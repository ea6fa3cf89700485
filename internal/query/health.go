package query

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pulsestream/pulsestream/internal/series"
)

// Status is how a source is, at a glance.
type Status string

// The statuses, best first but for idle, which is neither good nor bad.
const (
	StatusOK       Status = "ok"
	StatusDegraded Status = "degraded"
	StatusDown     Status = "down"
	StatusIdle     Status = "idle"
)

// Signals are what a source's status is judged by.
type Signals struct {
	Window time.Duration
	Events uint64   // within the window
	Judged uint64   // events that could tell success from failure; 0 when none could
	Failed uint64   // of these
	Firing []string // severities of the open incidents that are about the source
}

const (
	downShare     = 0.5
	degradedShare = 0.1
	// minJudged is how many events it takes to judge a share: one failure out of one says little.
	minJudged = 5
)

// share is the share of failures, and false when there is nothing to take it of.
func (s *Signals) share() (float64, bool) {
	if s.Judged == 0 {
		return 0, false
	}
	return min(1, float64(s.Failed)/float64(s.Judged)), true
}

// Judge tells a source's status and why. The first that holds:
//
//	down      a critical incident is open, and nothing arrives
//	degraded  a warning is open, and nothing arrives
//	idle      nothing arrives
//	down      more than half of at least five events failed
//	down      more than a tenth of at least five failed, and a critical incident is open
//	degraded  more than a tenth of at least five failed
//	degraded  a critical incident or a warning is open
//	ok
//
// Incidents of other severities (info) change nothing.
func Judge(s Signals) (Status, string) {
	critical, warning := slices.Contains(s.Firing, "critical"), slices.Contains(s.Firing, "warning")
	incident := "a warning is open"
	if critical {
		incident = "a critical incident is open"
	}
	nothing := "no events in the last " + series.Duration(s.Window).String()
	if s.Events == 0 {
		switch {
		case critical:
			return StatusDown, nothing + ", and " + incident
		case warning:
			return StatusDegraded, nothing + ", and " + incident
		}
		return StatusIdle, nothing
	}
	share, judged := s.share()
	failed := fmt.Sprintf("%d of %d events failed (%s)", s.Failed, s.Judged, percent(share))
	if s.Judged >= minJudged && share > degradedShare {
		switch {
		case share > downShare:
			return StatusDown, failed
		case critical:
			return StatusDown, failed + ", and " + incident
		}
		return StatusDegraded, failed
	}
	if critical || warning {
		return StatusDegraded, incident
	}
	switch {
	case !judged:
		return StatusOK, fmt.Sprintf("%d events", s.Events)
	case s.Failed == 0:
		return StatusOK, fmt.Sprintf("none of %d events failed", s.Judged)
	}
	return StatusOK, failed
}

func percent(share float64) string {
	p := share * 100
	switch {
	case p > 0 && p < 0.1:
		return "< 0.1 %"
	case p < 10:
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", p)
}

// failing are the words of an event's type that say that something went wrong.
func failing() []string {
	return []string{
		"fail", "failed", "fails", "failing", "failure", "failures",
		"error", "errored", "errors", "exception", "fatal", "panic", "crash", "crashed",
		"denied", "declined", "refused", "rejected", "blocked", "aborted", "disputed", "expired",
		"bounce", "bounced", "dropped", "undelivered", "undeliverable", "lost",
		"timeout", "timedout", "unreachable", "unavailable", "unhealthy", "outage",
	}
}

// mending are the words that turn such a type into good news: "error.resolved".
func mending() []string { return []string{"resolved", "recovered", "cleared", "fixed", "succeeded"} }

// FailureTypes tells types that say failure from others. It looks at whole words, so "failover.started" and "terror.alert" are
// none: words are what dots, underscores, slashes and the like separate, or a capital begins. It remembers the types it has seen,
// and is for one goroutine.
type FailureTypes struct{ seen map[string]bool }

// Is says whether an event of this type is a failure.
func (f *FailureTypes) Is(eventType string) bool {
	failure, ok := f.seen[eventType]
	if !ok {
		failure = IsFailure(eventType)
		if f.seen == nil {
			f.seen = map[string]bool{}
		}
		f.seen[eventType] = failure
	}
	return failure
}

// IsFailure says whether an event of this type is a failure.
func IsFailure(eventType string) bool {
	bad, good := failing(), mending()
	failure := false
	for _, w := range words(eventType) {
		if slices.Contains(good, w) {
			return false
		}
		failure = failure || slices.Contains(bad, w)
	}
	return failure
}

// words are the words of a type in lower case: "paymentFailed", "payment_failed" and "PAYMENT.FAILED" have the same.
func words(s string) []string {
	var b strings.Builder
	rs := []rune(s)
	for i, r := range rs {
		if i > 0 && unicode.IsUpper(r) {
			afterLower := unicode.IsLower(rs[i-1]) || unicode.IsDigit(rs[i-1])
			endsAcronym := unicode.IsUpper(rs[i-1]) && i+1 < len(rs) && unicode.IsLower(rs[i+1])
			if afterLower || endsAcronym {
				b.WriteRune(' ')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.FieldsFunc(b.String(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
