package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// MemberState is where a member stands.
type MemberState string

// Somebody who was invited cannot sign in yet, somebody disabled not any more.
const (
	MemberInvited  MemberState = "invited"
	MemberActive   MemberState = "active"
	MemberDisabled MemberState = "disabled"
)

// Member is the body of a catalog resource of kind member, whose slug is the member's id: a person in one tenant. Nothing of it reaches into another.
type Member struct {
	// Email is for people, and for signing in with a password. It identifies nobody who comes from an identity provider.
	Email string      `json:"email,omitempty"`
	Name  string      `json:"name"`
	Role  Role        `json:"role"`
	State MemberState `json:"state"`
	// Groups are those that an identity provider has named.
	Groups     []string   `json:"groups,omitempty"`
	Identities []Identity `json:"identities,omitempty"`
	ExternalID string     `json:"external_id,omitempty"` // of whoever provisions members
	CreatedBy  string     `json:"created_by"`            // subject of a principal, or "provider:<slug>"
	// Provisioned is what a company's directory says of the member by SCIM; nil if it does not look after them. Then the groups are those that it
	// says, not those of the identity provider.
	Provisioned *Provisioned `json:"provisioned,omitempty"`
	// Secrets are never shown.
	Secrets MemberSecrets `json:"secrets,omitzero"`
}

// Identity is who somebody is at an identity provider of the tenant: all three together.
type Identity struct {
	Provider string `json:"provider"` // slug
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
}

// Provisioned is what a directory says of a person, beside what every member has.
type Provisioned struct {
	UserName    string `json:"user_name"`
	DisplayName string `json:"display_name,omitempty"`
	Formatted   string `json:"formatted,omitempty"`
	Given       string `json:"given,omitempty"`
	Family      string `json:"family,omitempty"`
}

// MemberSecrets is what a member shows to sign in, and what invites one.
type MemberSecrets struct {
	Password string `json:"password,omitempty"` // argon2id, in the form $argon2id$v=19$m=…,t=…,p=…$salt$hash
	TOTP     string `json:"totp,omitempty"`     // base32
	TOTPLast int64  `json:"totp_last,omitempty"`
	// TOTPNext is a secret whose first code has not been shown yet.
	TOTPNext string `json:"totp_next,omitempty"`
	// Recovery are the SHA-256 of codes that take the place of one of TOTP, each once.
	Recovery []string `json:"recovery,omitempty"`
	// Invitation is the SHA-256 of a token that lets its holder set the password, once and until InvitationEnds.
	Invitation     string    `json:"invitation,omitempty"`
	InvitationEnds time.Time `json:"invitation_ends,omitzero"`
	// InvitationResets: who accepts the invitation loses the TOTP.
	InvitationResets bool `json:"invitation_resets,omitempty"`
	// InvitationRole and InvitationEmail are what the member had when it was made.
	InvitationRole  Role   `json:"invitation_role,omitempty"`
	InvitationEmail string `json:"invitation_email,omitempty"`
}

// Local says whether somebody signs in here rather than at an identity provider, or will.
func (m *Member) Local() bool { return m.Secrets.Password != "" || m.Secrets.Invitation != "" }

// Has says whether the identity is one of the member's.
func (m *Member) Has(i Identity) bool { return slices.Contains(m.Identities, i) }

// MemberLookup finds the member of a tenant who signs in here with an e-mail.
func MemberLookup(t tenant.ID, email string) string {
	sum := sha256.Sum256([]byte(string(t) + "\x00" + FoldEmail(email)))
	return "email:" + hex.EncodeToString(sum[:])
}

// FoldEmail is an e-mail as it is compared.
func FoldEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// NewMemberID makes the id of a member.
func NewMemberID() string { return "m" + random(idBytes) }

// MemberIDOf is the id of the member that is made when an identity is seen for the first time. The same one each time: of two that make it at
// the same time, one does.
func MemberIDOf(i Identity) string {
	sum := sha256.Sum256([]byte(i.Provider + "\x00" + i.Issuer + "\x00" + i.Subject))
	return "m" + encode(sum[:idBytes])
}

// MemberSubject is the subject of a member's principal.
func MemberSubject(id string) string { return "member:" + id }

// MemberID is the id of the member that a principal is.
func (p Principal) MemberID() (id string, ok bool) {
	return strings.CutPrefix(p.Subject, MemberSubject(""))
}
