package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Installation stands in a tenant's place for what is no tenant's. It can't be a tenant's id.
const Installation tenant.ID = "*"

// Record is what the audit log is to say of one thing that somebody has done. Its JSON, in this order, is the rest of an entry's text.
type Record struct {
	Tenant    tenant.ID       `json:"tenant"` // whose chain it belongs to
	At        time.Time       `json:"at"`
	Actor     Actor           `json:"actor"`
	Action    string          `json:"action"` // e.g. "metric.put"
	Target    Target          `json:"target"`
	RequestID string          `json:"request_id,omitempty"`
	Before    json.RawMessage `json:"before"` // null: there was none
	After     json.RawMessage `json:"after"`  // null: there is none any more
}

// Actor is who has done it.
type Actor struct {
	Subject   string `json:"subject"` // as a principal has it; "system" for the program itself
	Name      string `json:"name,omitempty"`
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

// Target is what it was done to.
type Target struct {
	Tenant tenant.ID `json:"tenant,omitempty"` // where the chain does not say it
	Kind   Kind      `json:"kind"`
	Slug   string    `json:"slug"`
}

// Trail is the audit log: a chain of entries for each tenant, to which is only ever added.
type Trail interface {
	// Append adds an entry for what is no change of a resource. What is, goes with its Put or Delete.
	Append(ctx context.Context, r Record) (Entry, error)
	// Read returns at most limit entries of a tenant that q wants, newest first.
	Read(ctx context.Context, t tenant.ID, q EntryQuery, limit int) ([]Entry, error)
	// Walk gives entries of a tenant in the order of their numbers. What each returns ends it.
	Walk(ctx context.Context, t tenant.ID, s Span, each func(*Entry) error) error
	// Head is the chain's last number and hash, kept beside it, so that entries cut off its end are missed. The zero Head when there is
	// none.
	Head(ctx context.Context, t tenant.ID) (Head, error)
}

// EntryQuery says which entries are wanted. What is zero asks for all.
type EntryQuery struct {
	From, To time.Time // From is included, To is not
	Actor    string
	Action   string
	Kind     Kind
	Slug     string
	Before   int64 // numbers lower than this one
}

// Span is a stretch of a chain without gaps: from the first to the last entry of these times, and up to a number.
type Span struct {
	From, To time.Time // zero: all
	Upto     int64     // 0: all
}

// maxRecord bounds the text of an entry.
const maxRecord = 1 << 20

// check refuses what would not come back as it is.
func (r *Record) check() error {
	if r.Tenant == "" || r.Action == "" || r.Actor.Subject == "" || r.Target.Kind == "" || r.At.IsZero() {
		return fmt.Errorf("%w: an entry of the audit log needs a tenant, a time, an actor, an action and a target", ErrRefused)
	}
	for _, s := range []string{string(r.Tenant), r.Actor.Subject, r.Actor.Name, r.Actor.Address, r.Actor.UserAgent, r.Action, string(r.Target.Tenant), string(r.Target.Kind), r.Target.Slug, r.RequestID} {
		if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
			return fmt.Errorf("%w: there is a zero byte, or what is not UTF-8, in the entry of the audit log", ErrRefused)
		}
	}
	return nil
}

// text is the entry's text with this number, behind an entry of that hash.
func (r *Record) text(seq int64, previous string) (string, error) {
	b, err := json.Marshal(struct {
		Seq      int64  `json:"seq"`
		Previous string `json:"previous"`
		*Record
	}{seq, previous, r})
	if err != nil {
		return "", fmt.Errorf("%w: the entry of the audit log: %w", ErrRefused, err)
	}
	if len(b) > maxRecord {
		return "", fmt.Errorf("%w: an entry of the audit log of %d bytes is too large", ErrRefused, len(b))
	}
	return string(b), nil
}

var errNoObject = errors.New("it is no JSON object of an entry")
