package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
)

// The types of messages; they are part of the public contract of webhooks.
const (
	TypeFiring   = "incident.firing"
	TypeResolved = "incident.resolved"
	TypeTest     = "channel.test"
)

// Message is what a channel carries in one attempt.
type Message struct {
	// ID is the idempotency key: the same at each attempt, of letters, digits and _ only.
	ID string
	// Type is one of TypeFiring, TypeResolved and TypeTest.
	Type    string
	Channel Channel
	// Attempt counts from 1.
	Attempt int
	// Transition is what has happened. Value and Threshold may be NaN: there is none.
	Transition alert.Transition
	// URL is the incident's page; empty when the installation does not know its own address.
	URL string
}

// Outcome says how one attempt went. The zero value is a delivery.
type Outcome struct {
	// Err is nil when the message was delivered. Its text is shown to the channel's owner.
	Err error
	// Retry says that the same message may get through later.
	Retry bool
	// RetryAfter is how long the receiver asked to be left alone; 0 when it did not.
	RetryAfter time.Duration
	// Status is the protocol's status code; 0 when there was none.
	Status int
	// Detail is a sentence about a delivery, e.g. who was left out.
	Detail string
	// Duration of the attempt; set by this package.
	Duration time.Duration
}

// Delivered is the outcome of a message that has arrived.
func Delivered(status int, detail string) Outcome { return Outcome{Status: status, Detail: detail} }

// Failed is the outcome of an attempt that may be repeated.
func Failed(err error, status int) Outcome { return Outcome{Err: err, Retry: true, Status: status} }

// Rejected is the outcome of a message that will never get through as it is.
func Rejected(err error, status int) Outcome { return Outcome{Err: err, Status: status} }

// Sender makes one attempt to deliver a message. It returns by the end of ctx, and is called from several goroutines.
type Sender interface {
	Send(ctx context.Context, m Message) Outcome
}

// SenderFunc is a function as a Sender.
type SenderFunc func(ctx context.Context, m Message) Outcome

// Send calls f.
func (f SenderFunc) Send(ctx context.Context, m Message) Outcome { return f(ctx, m) }

// Type is a type of channel, such as webhook: how its messages are sent, and what its configuration looks like.
type Type interface {
	Sender
	// Configure turns what a user has entered into what is stored: it fills in defaults and makes missing secrets. Secrets
	// that entered leaves out are taken over from stored, the channel's configuration so far (nil for a new channel). made holds
	// the secrets that it made, by field, to be shown this once. The error is a ConfigError when entered is to blame.
	Configure(entered, stored json.RawMessage) (config json.RawMessage, made map[string]string, err error)
	// Redact returns a configuration without its secrets.
	Redact(config json.RawMessage) (json.RawMessage, error)
}

// Registry holds the types of channels by name. The wiring builds it; nobody changes it after.
type Registry map[string]Type

// Type returns the type of that name, or a ConfigError that lists what there is.
func (r Registry) Type(name string) (Type, error) {
	if t, ok := r[name]; ok {
		return t, nil
	}
	return nil, ConfigError{{Field: "type", Message: fmt.Sprintf("%q is no type of channel: use one of %s", name, strings.Join(r.Names(), ", "))}}
}

// Names lists the types in alphabetical order.
func (r Registry) Names() []string {
	names := make([]string, 0, len(r))
	for n := range r {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// FieldError says what is wrong with one field of a channel.
type FieldError struct {
	Field   string // below config, e.g. "url"
	Message string
}

// ConfigError is all that is wrong with a channel's configuration.
type ConfigError []FieldError

func (e ConfigError) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Field + ": " + f.Message
	}
	return strings.Join(parts, "; ")
}

// Add appends a FieldError.
func (e *ConfigError) Add(field, format string, args ...any) {
	*e = append(*e, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Err is e, or nil when nothing is wrong.
func (e ConfigError) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
