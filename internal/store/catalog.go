package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Kind is a kind of resource in the catalog.
type Kind string

// The kinds of resources.
const (
	KindTenant      Kind = "tenant"
	KindKey         Kind = "key"
	KindSigningKey  Kind = "signing-key"  // what access tokens are signed with
	KindTokenIssuer Kind = "token-issuer" // whose access tokens a tenant takes besides ours
	KindMember      Kind = "member"       // a person in a tenant
	KindSession     Kind = "session"      // a member's, since they have signed in
	KindGroup       Kind = "group"        // of members, as a company's directory says
	KindUsed        Kind = "used"         // what was used and may not be again, such as an assertion of SAML
	KindProvider    Kind = "provider"     // where members come from
	KindSource      Kind = "source"
	KindMetric      Kind = "metric"
	KindRule        Kind = "rule"
	KindChannel     Kind = "channel"
	KindNote        Kind = "note"       // acknowledgements and comments of incidents
	KindTransition  Kind = "transition" // a copy of every incident transition: the log could not give them back
	KindCursor      Kind = "cursor"     // how far a tail (the notifier's) has read
	KindDataKey     Kind = "data-key"   // what secrets in other bodies are sealed with, itself wrapped; see package vault
)

// Resource is one thing people configure. Body is its JSON, whose shape is its noun's affair.
type Resource struct {
	Tenant tenant.ID
	Kind   Kind
	Slug   string
	// ID is unique among all resources of an installation and never re-used. A Put gives a new one when Fresh says so,
	// else a changed resource keeps its own.
	ID int64
	// Lookup finds the resource without its tenant: the hash of a key's secret, the token of a hook. Unique within its
	// kind; empty for none.
	Lookup    string
	Body      json.RawMessage
	Revision  int64 // of the last change, from the installation's one counter
	CreatedAt time.Time
	UpdatedAt time.Time
	UsedAt    time.Time // as Touch has said; zero: never
}

// Put is a change of one resource.
type Put struct {
	Tenant tenant.ID
	Kind   Kind
	Slug   string
	Lookup string
	Body   json.RawMessage
	// IfRevision: 0 puts in any case, -1 only if there is none yet, any other only if that is the revision it has.
	IfRevision int64
	// Fresh gives the resource a new ID even if it exists.
	Fresh bool
	At    time.Time
	// Records are added to the audit log with the change: either all of it happens, or nothing.
	Records []Record
}

// Delete is the removal of one resource.
type Delete struct {
	Tenant tenant.ID
	Kind   Kind
	Slug   string
	// IfRevision: 0 deletes in any case, any other only if that is the revision it has.
	IfRevision int64
	Records    []Record // as for Put
}

// Rewrite writes the body and the lookup of a resource in another form that says the same.
type Rewrite struct {
	Tenant     tenant.ID
	Kind       Kind
	Slug       string
	IfRevision int64
	Lookup     string
	Body       json.RawMessage
}

// Use says that a resource was used.
type Use struct {
	Tenant tenant.ID
	Kind   Kind
	Slug   string
	At     time.Time
}

// Job is one notification on its way to one channel.
type Job struct {
	ID        string // idempotency key: transition and channel
	Tenant    tenant.ID
	Channel   string
	Incident  string
	Payload   json.RawMessage
	State     JobState
	Attempts  int
	NextAt    time.Time // not before; while leased, when the lease ends
	Error     string    // of the last attempt
	CreatedAt time.Time
	UpdatedAt time.Time
}

// JobState is where a job stands.
type JobState string

// A job is queued until it is done or, out of attempts, dead.
const (
	JobQueued JobState = "queued"
	JobDone   JobState = "done"
	JobDead   JobState = "dead"
)

// Catalog keeps what people configure, the queue of notifications, and the audit log. Every change is on disk when its call returns.
type Catalog interface {
	// Put creates or changes a resource and returns it; ErrConflict when IfRevision doesn't hold or Lookup is taken.
	Put(ctx context.Context, p Put) (Resource, error)
	// Get returns a resource or ErrNotFound.
	Get(ctx context.Context, t tenant.ID, k Kind, slug string) (Resource, error)
	// Find returns the resource of any tenant with this lookup, or ErrNotFound.
	Find(ctx context.Context, k Kind, lookup string) (Resource, error)
	// List returns all of a kind, by slug. An empty tenant means all tenants, by tenant and slug.
	List(ctx context.Context, t tenant.ID, k Kind) ([]Resource, error)
	// Delete removes a resource; ErrNotFound, or ErrConflict when IfRevision doesn't hold.
	Delete(ctx context.Context, d Delete) error
	// Rewrite changes how a resource is written, not what it says: no revision, no time and no ID moves. ErrConflict when it is not at IfRevision any
	// more or Lookup is taken, ErrNotFound when it is gone.
	Rewrite(ctx context.Context, r Rewrite) error
	// Touch notes when resources were used last, which is no change of them: it moves no revision. What is not there any more, or
	// was used later, is passed over.
	Touch(ctx context.Context, uses []Use) error
	// Revision is the installation's counter; it moves on with each change, so a poller sees that there was one.
	Revision(ctx context.Context) (int64, error)
	// Queue is the queue of notifications.
	Queue() Queue
	// Trail is the audit log.
	Trail() Trail
	// Usage is the book of what tenants have used.
	Usage() UsageBook
	// Close releases the store.
	Close() error
}

// Queue is the durable queue of notifications.
type Queue interface {
	// Enqueue adds jobs, ignoring those whose tenant and ID are there already, and moves the cursor named tail to position, in one transaction.
	Enqueue(ctx context.Context, tail string, position uint64, jobs []Job) error
	// Position is where the cursor named tail stands; 0 when it was never moved.
	Position(ctx context.Context, tail string) (uint64, error)
	// Claim leases up to limit queued jobs that are due at now, oldest due first: each one's NextAt becomes now+lease and its
	// Attempts one more, so that a job whose claimer dies comes back by itself.
	Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Job, error)
	// Finish records how an attempt went: State, NextAt, Error and UpdatedAt of j, as Claim returned it, are stored. ErrConflict
	// when its lease ended and a later attempt has begun since, which is then the one to say; ErrNotFound when there is no such job.
	// A job that becomes JobDone is a notification of its tenant's usage, in the hour of UpdatedAt, counted once in the same transaction.
	Finish(ctx context.Context, j Job) error
	// Jobs lists the jobs of a tenant's incident, oldest first; of all its incidents when incident is empty, newest first. At most
	// limit; 0: no bound.
	Jobs(ctx context.Context, t tenant.ID, incident string, limit int) ([]Job, error)
}
