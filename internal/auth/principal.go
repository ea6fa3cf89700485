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
	// Expires is when the credentials that were shown end; zero: they don't by themselves.
	Expires time.Time
	// Operator says that the caller runs the installation. It adds what the table gives to operators, and nothing in any tenant.
	Operator bool

	use *Use // of what was shown
}

// Can says whether the principal has the permission. The zero principal has none.
func (p Principal) Can(what Permission) bool {
	return p.Scope.Allows(what) && (p.Role.Can(what) || p.Operator && operatorCan(what))
}
