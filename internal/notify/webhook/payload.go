package webhook

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"github.com/pulsestream/pulsestream/internal/notify"
)

// body is the form of a request's body, part of the public contract. timestamp is when it happened.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	Incident incident `json:"incident"`
}

type incident struct {
	ID          string            `json:"id"`
	Rule        string            `json:"rule"`
	RuleName    string            `json:"rule_name"`
	Metric      string            `json:"metric"`
	Labels      map[string]string `json:"labels"`
	State       string            `json:"state"` // firing or resolved
	Severity    string            `json:"severity"`
	StartedAt   time.Time         `json:"started_at"`
	ResolvedAt  *time.Time        `json:"resolved_at"` // null while firing
	Value       *float64          `json:"value"`       // null when there is none
	Threshold   *float64          `json:"threshold"`
	Summary     string            `json:"summary"`
	Explanation string            `json:"explanation"`
	URL         string            `json:"url,omitempty"`
}

// encode makes the body of a message: the same bytes at each attempt.
func encode(m notify.Message) ([]byte, error) {
	t := m.Transition
	i := incident{
		ID: t.Incident, Rule: t.Rule, RuleName: t.RuleName, Metric: t.Metric, Labels: t.Labels, State: "firing", Severity: t.Severity,
		StartedAt: t.StartedAt.UTC(), Value: number(t.Value), Threshold: number(t.Threshold), Summary: t.Summary, Explanation: t.Explanation, URL: m.URL,
	}
	if i.Labels == nil {
		i.Labels = map[string]string{}
	}
	if m.Type == notify.TypeResolved {
		at := t.At.UTC()
		i.State, i.ResolvedAt = "resolved", &at
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is no HTML: > in an explanation stays readable
	err := e.Encode(body{Type: m.Type, Timestamp: t.At.UTC(), Data: data{i}})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
