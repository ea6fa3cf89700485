package auth

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared reads the values of the constants of a type from the source.
func declared(t *testing.T, typeName string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "permissions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typeName {
			return true
		}
		s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, s)
		return true
	})
	if len(values) == 0 {
		t.Fatalf("no constant of type %s was found", typeName)
	}
	return values
}

func TestEveryPermissionIsInTheTableOnceAndSaysWhatItIs(t *testing.T) {
	var table []string
	for _, g := range Permissions() {
		table = append(table, string(g.Permission))
		if !strings.HasSuffix(g.Description, ".") || g.Operator == (len(g.Roles) > 0) || !g.Operator && g.Roles[0] != RoleOwner {
			t.Errorf("%s: %q for %v: it needs a sentence, and the owner may do anything in a tenant, but not beyond it", g.Permission, g.Description, g.Roles)
		}
		for _, r := range g.Roles {
			if !r.Valid() {
				t.Errorf("%s is given to %q, which is no role", g.Permission, r)
			}
		}
	}
	if want := declared(t, "Permission"); !slices.Equal(table, want) {
		t.Errorf("the table has\n%v, the constants are\n%v", table, want)
	}
}

func TestEveryRoleIsListed(t *testing.T) {
	var listed []string
	for _, r := range Roles() {
		listed = append(listed, string(r))
	}
	if want := declared(t, "Role"); !slices.Equal(listed, want) {
		t.Errorf("Roles is %v, the constants are %v", listed, want)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	for _, c := range []struct {
		role Role
		may  []Permission
		not  []Permission
	}{
		{RoleOwner, []Permission{TenantDelete, KeysWrite, EventsWrite}, []Permission{"", "events:eat"}},
		{RoleAdmin, []Permission{KeysWrite, MembersWrite, TenantWrite, AuditRead, ReplaysWrite, EventsWrite}, []Permission{TenantDelete}},
		{RoleEditor, []Permission{RulesWrite, MetricsWrite, SourcesWrite, IncidentsWrite, EventsWrite}, []Permission{KeysRead, KeysWrite, MembersRead, AuditRead}},
		{RoleViewer, []Permission{EventsRead, MetricsRead, IncidentsRead, TenantRead}, []Permission{EventsWrite, RulesWrite, IncidentsWrite, KeysRead}},
		{RoleIngest, []Permission{EventsWrite}, []Permission{EventsRead, MetricsRead, RulesRead, KeysRead}},
		{"", nil, []Permission{"", EventsWrite, TenantRead}},
		{"Owner", nil, []Permission{EventsRead}},
	} {
		p := Principal{Tenant: "acme", Role: c.role}
		for _, what := range c.may {
			if !p.Can(what) {
				t.Errorf("%q cannot %s", c.role, what)
			}
		}
		for _, what := range c.not {
			if p.Can(what) {
				t.Errorf("%q can %q", c.role, what)
			}
		}
	}
}

func TestAnOperatorIsOneWhateverTheRole(t *testing.T) {
	for _, r := range Roles() {
		if (Principal{Role: r}).Can(TenantsManage) || !(Principal{Role: r, Operator: true}).Can(TenantsManage) {
			t.Errorf("%s: only an operator manages tenants", r)
		}
	}
	if p := (Principal{Role: RoleIngest, Operator: true}); p.Can(EventsRead) {
		t.Error("an operator may do in a tenant what the role does not give")
	}
}

func TestNobodyCoversMoreThanTheyHave(t *testing.T) {
	covers := map[Role][]Role{
		RoleOwner:  {RoleOwner, RoleAdmin, RoleEditor, RoleViewer, RoleIngest},
		RoleAdmin:  {RoleAdmin, RoleEditor, RoleViewer, RoleIngest},
		RoleEditor: {RoleEditor, RoleViewer, RoleIngest},
		RoleViewer: {RoleViewer},
		RoleIngest: {RoleIngest},
		"":         nil,
	}
	for role, want := range covers {
		for _, other := range append(Roles(), "", "root") {
			if got := (Principal{Role: role}).Covers(Principal{Role: other}); got != slices.Contains(want, other) {
				t.Errorf("%q covers %q: %v", role, other, got)
			}
		}
	}
}

func TestTheTableIsACopy(t *testing.T) {
	Permissions()[0].Roles[0] = RoleViewer
	if RoleViewer.Can(Permissions()[0].Permission) {
		t.Error("a caller could change the table")
	}
}

func TestTheDocumentedTableHasARowForEachPermission(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(PermissionsMarkdown()), "\n")
	if len(lines) != 2+len(Permissions()) {
		t.Fatalf("it has %d lines for %d permissions", len(lines), len(Permissions()))
	}
	for _, l := range lines {
		if strings.Count(l, "|") != 4+len(Roles()) {
			t.Errorf("columns are missing: %s", l)
		}
	}
	if want := "| `events:write` | Send events. | ✓ | ✓ | ✓ |  | ✓ |  |"; !slices.Contains(lines, want) {
		t.Errorf("there is no line %q in\n%s", want, strings.Join(lines, "\n"))
	}
}

func TestTheDocumentationShowsTheTableAsItIs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- permissions: begin -->\n")
	shown, _, ended := strings.Cut(rest, "<!-- permissions: end -->")
	if !found || !ended || strings.TrimSpace(shown) != strings.TrimSpace(PermissionsMarkdown()) {
		t.Errorf("docs/security.md shows another table; it should be\n%s", PermissionsMarkdown())
	}
	if !strings.Contains(string(text), KeyPattern) {
		t.Errorf("docs/security.md does not have the pattern of keys, %s", KeyPattern)
	}
}
