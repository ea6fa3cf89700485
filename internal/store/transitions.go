package store

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/alert"
)

// EncodeTransition is a transition as providers keep it. JSON has no infinity and no NaN, and none of them may stop a commit: what is beyond all numbers
// becomes the largest there is, what is no number 0.
func EncodeTransition(t *alert.Transition) ([]byte, error) {
	plain := *t
	plain.Value, plain.Worst, plain.Threshold = finite(t.Value), finite(t.Worst), finite(t.Threshold)
	text, err := json.Marshal(&plain)
	if err != nil {
		return nil, fmt.Errorf("transition %s: %w: %w", t.ID, ErrRefused, err)
	}
	return text, nil
}

func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return math.Max(-math.MaxFloat64, math.Min(math.MaxFloat64, v))
}

// DecodeTransition is the opposite, but for the two numbers that are kept beside it because they may be infinite.
func DecodeTransition(body []byte, value, threshold float64) (alert.Transition, error) {
	var t alert.Transition
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("stored transition: %w", err)
	}
	t.Value, t.Threshold = value, threshold
	return t, nil
}

// ApplyTransition adds a transition to the last incident if it is that one's, else to a new one. What an incident says of itself is
// what its first transition said; the transition to ok adds when it ended.
func ApplyTransition(all []alert.Incident, t alert.Transition) []alert.Incident {
	if len(all) == 0 || all[len(all)-1].ID != t.Incident {
		all = append(all, alert.Incident{
			Tenant: t.Tenant, ID: t.Incident, RuleID: t.RuleID, Rule: t.Rule, RuleName: t.RuleName, Metric: t.Metric, Labels: t.Labels,
			State: "firing", Severity: t.Severity, StartedAt: t.StartedAt, PendingAt: t.PendingAt, Value: t.Value,
			Threshold: t.Threshold, Summary: t.Summary, Explanation: t.Explanation, Channels: t.Channels,
		})
	}
	if t.Kind == alert.PhaseOK {
		i := &all[len(all)-1]
		i.State, i.ResolvedAt = "resolved", t.At
	}
	return all
}
