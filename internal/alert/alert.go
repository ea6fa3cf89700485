package alert

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Rule is an alert rule as it is configured; see the public contract.
type Rule struct {
	// ID is the generation of the rule, unique in an installation.
	ID        int64             `json:"id"`
	Tenant    tenant.ID         `json:"tenant"`
	Slug      string            `json:"slug"`
	Name      string            `json:"name,omitempty"`
	Metric    string            `json:"metric"`
	Agg       series.Kind       `json:"agg"`
	GroupBy   []string          `json:"group_by,omitempty"`
	Where     map[string]string `json:"where,omitempty"`
	Window    series.Duration   `json:"window"`
	Condition Condition         `json:"condition"`
	For       series.Duration   `json:"for,omitempty"`
	Severity  string            `json:"severity"`
	Channels  []string          `json:"channels,omitempty"`
	NoData    string            `json:"no_data"`
	Labels    map[string]string `json:"labels,omitempty"`
	Summary   string            `json:"summary,omitempty"`
	Enabled   bool              `json:"enabled"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// Condition says when a rule's value is bad. Clear is the value at which a firing rule is good again (hysteresis); without it,
// that is Value.
type Condition struct {
	Type  string   `json:"type"` // "threshold"
	Op    string   `json:"op"`   // > >= < <= == !=
	Value float64  `json:"value"`
	Clear *float64 `json:"clear,omitempty"`
}

// Phase is where a rule stands for one group of labels.
type Phase string

// The phases of the state machine in doc.go.
const (
	PhaseOK      Phase = "ok"
	PhasePending Phase = "pending"
	PhaseFiring  Phase = "firing"
)

// State is what must outlive a restart of one rule and one group of labels. It is committed with the log offset.
type State struct {
	Tenant tenant.ID
	RuleID int64
	// Group is GroupKey of the group's values, in the order of Rule.GroupBy: with Tenant and RuleID the state's key.
	Group    string
	Labels   map[string]string // the group's own; the rule's labels are not among them
	Phase    Phase
	Since    time.Time // of Phase
	Incident string    // of PhaseFiring
	Value    float64   // when the phase began
	// Opened is the transition that began the incident, with the worst value since; nil unless PhaseFiring. It is kept so
	// that an incident can be resolved, and told of, when its rule is no longer there.
	Opened *Transition
}

// Transition is a change of an incident: it began (firing) or ended (resolved). It is committed with the log offset, and it
// carries what a notification needs, so that one can be sent however the rule has changed since.
type Transition struct {
	ID          string            `json:"id"` // idempotency key of its notifications
	Tenant      tenant.ID         `json:"tenant"`
	Incident    string            `json:"incident"`
	RuleID      int64             `json:"rule_id"`
	Rule        string            `json:"rule"`
	RuleName    string            `json:"rule_name"`
	Metric      string            `json:"metric"`
	Labels      map[string]string `json:"labels"`
	Group       string            `json:"group,omitempty"` // and GroupLabels: those of the State, so that it can be made again
	GroupLabels map[string]string `json:"group_labels,omitempty"`
	Kind        Phase             `json:"kind"` // firing, or ok for resolved
	At          time.Time         `json:"at"`
	StartedAt   time.Time         `json:"started_at"`
	PendingAt   time.Time         `json:"pending_at"` // when the condition began to hold
	Value       float64           `json:"value"`
	Worst       float64           `json:"worst"` // farthest beyond the threshold while firing
	Threshold   float64           `json:"threshold"`
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	Explanation string            `json:"explanation"`
	Channels    []string          `json:"channels"`
}

// Incident is one stretch of time in which a rule fired for one group of labels, put together from its transitions.
type Incident struct {
	Tenant      tenant.ID
	ID          string
	RuleID      int64
	Rule        string
	RuleName    string
	Metric      string
	Labels      map[string]string
	State       string // "firing" or "resolved"
	Severity    string
	StartedAt   time.Time
	PendingAt   time.Time
	ResolvedAt  time.Time // zero while firing
	Value       float64   // at the start; the worst is the explanation's to tell
	Threshold   float64
	Summary     string
	Explanation string
	Channels    []string
}
