package source

import "errors"

// What a refusal comes down to; errors.Is tells. The API answers each with one status.
var (
	// ErrUnverified is for a delivery that is not shown to be the vendor's: 401.
	ErrUnverified = errors.New("the webhook's signature does not hold")
	// ErrMalformed is for a genuine delivery whose body is not what the vendor sends: 400.
	ErrMalformed = errors.New("the webhook's body cannot be read")
	// ErrInvalid is for a genuine, readable delivery that makes no event: 422.
	ErrInvalid = errors.New("the webhook makes no event")
	// ErrTooLarge is for a genuine delivery beyond the size of an event: 413.
	ErrTooLarge = errors.New("the webhook is too large")
)

// Refusal says why a webhook was not taken: a stable code for programs and a sentence for people. It never holds a
// secret, nor a signature that would have been right.
type Refusal struct {
	Class  error // one of the errors above
	Code   string
	Detail string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// Unwrap gives the class.
func (r *Refusal) Unwrap() error { return r.Class }

// Codes of a Refusal of the class ErrUnverified. The other classes have those of event.Problem, and the two below.
const (
	CodeMissingSignature   = "missing_signature"
	CodeMalformedSignature = "malformed_signature"
	CodeBadSignature       = "bad_signature"
	CodeStaleTimestamp     = "stale_timestamp"
	CodeFutureTimestamp    = "future_timestamp"
	CodeNoSecret           = "no_secret"
)

// Codes of a Refusal of the class ErrInvalid.
const (
	CodeMissingID   = "missing_id"
	CodeMissingType = "missing_type"
)

func unverified(code, detail string) *Refusal { return &Refusal{ErrUnverified, code, detail} }
