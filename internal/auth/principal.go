package auth

import (
	"errors"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

var (
	// ErrNoCredentials means: the caller showed none.
	ErrNoCredentials = errors.New("no credentials: send an API key as Authorization: Bearer ps_…")
	// ErrBadCredentials means: what the caller showed is not valid, or no longer. It never says why: that would help a thief.
	ErrBadCredentials = errors.New("the credentials are not valid: check that the API key is complete and was not revoked")
)

// Principal is who calls: a subject that acts for a tenant, with a role.
type Principal struct {
	Tenant tenant.ID
	// Subject names the caller within the tenant for good, e.g. "key:k5xq3…"; what comes before the colon says what it is.
	Subject string
	// Name is for people, and the source of events that name none.
	Name string
	Role Role
	// Operator says that the caller runs the installation. It adds what the table gives to operators, and nothing in any tenant.
	Operator bool
}

// Can says whether the principal has the permission. The zero principal has none.
func (p Principal) Can(what Permission) bool {
	return p.Role.Can(what) || p.Operator && operatorCan(what)
}
