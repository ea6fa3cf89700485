package auth

import (
	"slices"
	"strings"
)

// Role is what somebody is in a tenant. Each member and each key has one.
type Role string

// The roles. Each of the first four may do all that the next one may; ingest stands apart, for keys inside applications.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleEditor Role = "editor"
	RoleViewer Role = "viewer"
	RoleIngest Role = "ingest"
)

// Permission is one thing that a role may do. The zero value is nobody's.
type Permission string

// The permissions; the table below says what each means.
const (
	EventsWrite     Permission = "events:write"
	EventsRead      Permission = "events:read"
	QuarantineRetry Permission = "quarantine:retry"
	MetricsRead     Permission = "metrics:read"
	MetricsWrite    Permission = "metrics:write"
	RulesRead       Permission = "rules:read"
	RulesWrite      Permission = "rules:write"
	IncidentsRead   Permission = "incidents:read"
	IncidentsWrite  Permission = "incidents:write"
	ChannelsRead    Permission = "channels:read"
	ChannelsWrite   Permission = "channels:write"
	SilencesRead    Permission = "silences:read"
	SilencesWrite   Permission = "silences:write"
	SourcesRead     Permission = "sources:read"
	SourcesWrite    Permission = "sources:write"
	ReportsRead     Permission = "reports:read"
	ReportsWrite    Permission = "reports:write"
	ReplaysRead     Permission = "replays:read"
	ReplaysWrite    Permission = "replays:write"
	TenantRead      Permission = "tenant:read"
	TenantWrite     Permission = "tenant:write"
	TenantDelete    Permission = "tenant:delete"
	MembersRead     Permission = "members:read"
	MembersWrite    Permission = "members:write"
	KeysRead        Permission = "keys:read"
	KeysWrite       Permission = "keys:write"
	IdentityRead    Permission = "identity:read"
	IdentityWrite   Permission = "identity:write"
	AuditRead       Permission = "audit:read"
	UsageRead       Permission = "usage:read"
	TenantsManage   Permission = "tenants:manage"
)

// Grant is a row of the table of permissions.
type Grant struct {
	Permission  Permission
	Description string
	Roles       []Role
	// Operator: not a matter of roles, but of running the installation.
	Operator bool
}

var permissions = []Grant{
	{EventsWrite, "Send events.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleIngest}, false},
	{EventsRead, "Read events, and follow them live.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{QuarantineRetry, "Process events again that are in quarantine.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{MetricsRead, "See and query metrics, follow them live, see the overview.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{MetricsWrite, "Make, change and delete metrics.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{RulesRead, "See alert rules, and try them on stored history.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{RulesWrite, "Make, change and delete alert rules.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{IncidentsRead, "See incidents and their timelines, and follow them live.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{IncidentsWrite, "Acknowledge incidents and comment on them.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{ChannelsRead, "See channels, without their secrets.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{ChannelsWrite, "Make, change, delete and test channels.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{SilencesRead, "See silences.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{SilencesWrite, "Make, change and end silences.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{SourcesRead, "See sources and vendors, without their secrets.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{SourcesWrite, "Make, change and delete sources.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{ReportsRead, "See reports and download them.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{ReportsWrite, "Order reports.", []Role{RoleOwner, RoleAdmin, RoleEditor}, false},
	{ReplaysRead, "See how replays go.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer}, false},
	{ReplaysWrite, "Order replays.", []Role{RoleOwner, RoleAdmin}, false},
	{TenantRead, "See the tenant and one's own role in it.", []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer, RoleIngest}, false},
	{TenantWrite, "Change the tenant's name and settings.", []Role{RoleOwner, RoleAdmin}, false},
	{TenantDelete, "Delete the tenant with all that it has.", []Role{RoleOwner}, false},
	{MembersRead, "See members and their roles.", []Role{RoleOwner, RoleAdmin}, false},
	{MembersWrite, "Invite members, change their roles, remove them.", []Role{RoleOwner, RoleAdmin}, false},
	{KeysRead, "See API keys, without their secrets.", []Role{RoleOwner, RoleAdmin}, false},
	{KeysWrite, "Make and revoke API keys.", []Role{RoleOwner, RoleAdmin}, false},
	{IdentityRead, "See identity providers and issuers of tokens, without their secrets.", []Role{RoleOwner, RoleAdmin}, false},
	{IdentityWrite, "Make, change and remove identity providers and issuers of tokens.", []Role{RoleOwner, RoleAdmin}, false},
	{AuditRead, "Read the audit log.", []Role{RoleOwner, RoleAdmin}, false},
	{UsageRead, "See usage and quotas.", []Role{RoleOwner, RoleAdmin}, false},
	{Permission: TenantsManage, Description: "Make, change and see the tenants of the installation, and make keys for them.", Operator: true},
}

// Roles lists the roles, the mightiest first.
func Roles() []Role { return []Role{RoleOwner, RoleAdmin, RoleEditor, RoleViewer, RoleIngest} }

// Valid says whether r is one of the roles.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Can says whether the role has the permission.
func (r Role) Can(p Permission) bool {
	for i := range permissions {
		if permissions[i].Permission == p {
			return slices.Contains(permissions[i].Roles, r)
		}
	}
	return false
}

// operatorCan says whether those who run the installation have the permission.
func operatorCan(p Permission) bool {
	return slices.ContainsFunc(permissions, func(g Grant) bool { return g.Permission == p && g.Operator })
}

// Permissions is a copy of the table.
func Permissions() []Grant {
	table := slices.Clone(permissions)
	for i := range table {
		table[i].Roles = slices.Clone(table[i].Roles)
	}
	return table
}

// PermissionsMarkdown is the table as the documentation shows it.
func PermissionsMarkdown() string {
	var b strings.Builder
	b.WriteString("| permission | allows to |")
	for _, r := range Roles() {
		b.WriteString(" " + string(r) + " |")
	}
	b.WriteString(" operator |\n|---|---|" + strings.Repeat(":-:|", len(Roles())+1) + "\n")
	for _, g := range permissions {
		b.WriteString("| `" + string(g.Permission) + "` | " + g.Description + " |")
		for _, r := range Roles() {
			if slices.Contains(g.Roles, r) {
				b.WriteString(" ✓ |")
			} else {
				b.WriteString("  |")
			}
		}
		if g.Operator {
			b.WriteString(" ✓ |")
		} else {
			b.WriteString("  |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
