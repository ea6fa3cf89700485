package auth

import (
	"errors"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

var (
	// ErrNoCredentials means: the caller showed none.
	ErrNoCredentials = errors.New("no credentials: send an API key or an access token as Authorization: Bearer …")
	// ErrBadCredentials means: what the caller showed is not valid, or no longer. It never says why: that would help a thief.
	ErrBadCredentials = errors.New("the credentials are not valid: check that the API key or token is complete, has not expired and was not revoked")
)

// Principal is who calls: a subject that acts for a tenant, with a role.
type Principal struct {
	Tenant tenant.ID
	// Subject names the caller within the tenant for good, e.g. "key:k5xq3…"; what comes before the colon says what it is.
	Subject string
	// Name is for people, and the source of events that name none.
	Name string
	Role Role
	// Scope holds a key or token to some of what its role may do.
	Scope Scope
	// RateLimit is how many events a second the caller may send on average; 0: as many as the tenant may.
	RateLimit float64
	// Expires is when the credentials that were shown end; zero: they don't by themselves.
	Expires time.Time
	// Method is how the caller has shown who it is.
	Method Method
	// Session is the id of the session that a member has signed in for; empty for keys and tokens.
	Session string
	// Operator says that the caller runs the installation. It adds what the table gives to operators, and nothing in any tenant.
	Operator bool
	// revision is that of the tenant's issuer whose token was shown; 0 for all others.
	revision int64

	use *Use // of what was shown
}

// Method is a way to show who one is.
type Method string

// The methods. A member's session has that of the sign-in.
const (
	MethodPassword Method = "password"
	MethodOIDC     Method = "oidc"
	MethodSAML     Method = "saml"
	MethodKey      Method = "key"
	MethodToken    Method = "token"
)

// Can says whether the principal has the permission. The zero principal has none.
func (p Principal) Can(what Permission) bool {
	return p.Scope.Allows(what) && (p.Role.Can(what) || p.Operator && operatorCan(what))
}
