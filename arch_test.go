// Package pulsestream_test holds the architecture of the module: which package may import which, and what no package may do.
//
// The table in layout is the one of docs/architecture.md. To add a package, add its row; to add an arrow that goes beyond
// the design, add it to the row's beyond, with the reason.
package pulsestream_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pulsestream/pulsestream"

// everythingBelow, as an arrow, allows each internal package whose row comes later.
const everythingBelow = "…"

// place is a row of the layout. Names are folders; those of internal/ are written without that prefix, and a last
// element * stands for every folder at that level.
type place struct {
	name   string
	may    []string          // own packages that it may import by the design
	beyond map[string]string // those that the wiring needs besides, and why
}

func layout() []place {
	nouns := []string{"event", "series", "metric", "tenant"}
	return []place{
		{name: ".", may: nil},
		{name: "cmd/pulsestream", may: []string{"app", "config", "client"}, beyond: map[string]string{
			"verify":        "the verify command checks a data directory or a running server",
			"client/ledger": "the verify command reads a sender's ledger",
			"tenant":        "the verify command is told whose ledger it is",
			"bench":         "the bench command runs the load generator",
			"bench/*":       "and the measurements of servers in processes of their own",
			"backup":        "the backup and restore commands",
			"audit":         "the audit command follows the chain of an export",
			"demo":          "the demo command runs the simulated vendors",
		}},
		{name: "app", may: []string{everythingBelow}},
		{name: "config", may: []string{everythingBelow}},
		{name: "api", may: append([]string{"query", "store", "web"}, nouns...), beyond: map[string]string{
			"live":     "its WebSocket and tickets are routes of the one table",
			"source":   "vendors are listed, and a source's vendor and secret are checked when it is saved",
			"alert":    "rules, incidents and silences are nouns of the API",
			"ingest":   "its handlers are routes of the one table",
			"catalog":  "the typed side of the catalog, which its handlers read and change",
			"auth":     "each route names the permission that it takes",
			"audit":    "who sends a request is told to it, and its log is shown by routes of the one table",
			"notify":   "channels are checked when they are saved, and tried on request",
			"report":   "reports are ordered, shown and downloaded by routes of the one table",
			"signin":   "people sign in by routes of the one table",
			"scim":     "directories provision by others",
			"signin/*": "and come back from identity providers by others",
			"usage":    "what tenants have used is shown, and queries are counted as they are answered",
			"vault":    "the operator sees how secrets are kept, and orders a rotation",
		}},
		{name: "ui"},
		{name: "signin", may: []string{"auth", "tenant"}, beyond: map[string]string{
			"audit":   "it is the first to know who somebody is that has no credentials yet",
			"catalog": "members, sessions and identity providers are configured things",
			"store":   "the sentinels of the seam",
			"scim":    "a directory's users and groups are members and their groups",
		}},
		{name: "signin/*", may: []string{"signin"}, beyond: map[string]string{
			"egress": "identity providers are asked only through the dial guard",
		}},
		{name: "web", may: []string{"auth", "tenant"}},
		{name: "web/quick"},
		{name: "live", may: []string{"bus", "series", "tenant", "web"}, beyond: map[string]string{
			"event":  "the tail of events shows events",
			"metric": "a subscription names a metric and its dimensions",
			"query":  "a snapshot is the answer of a query",
			"auth":   "a connection is a principal's",
			"store":  "what is older than memory is read there; the types of the seam",
			"alert":  "incidents are a topic",
		}},
		{name: "report", may: []string{"query", "series", "tenant"}, beyond: map[string]string{
			"event":   "a report of events has them as they are stored",
			"metric":  "a report of a metric is the answer of a query, which needs the metric",
			"store":   "the types of the seam, by which events are read",
			"contain": "a fault of an encoder is its report's",
		}},
		{name: "notify", may: []string{"alert"}, beyond: map[string]string{
			"tenant": "a channel belongs to a tenant",
			"store":  "channels and what was delivered are kept there",
		}},
		{name: "notify/*", may: []string{"alert"}, beyond: map[string]string{
			"notify": "a channel carries the notification that notify hands it",
			"egress": "a channel calls out only through the dial guard",
		}},
		{name: "alert", may: []string{"metric", "series", "anomaly"}, beyond: map[string]string{
			"tenant": "a rule and an incident belong to a tenant",
		}},
		{name: "anomaly", may: []string{"series"}},
		{name: "vault", may: []string{"store", "tenant"}, beyond: map[string]string{
			"private": "the master key that a server makes for itself is a file for its owner only",
		}},
		{name: "vault/awskms"},
		{name: "private"},
		{name: "backup", may: append([]string{"store", "store/*", "bus", "catalog", "alert"}, nouns...), beyond: map[string]string{
			"vault":   "the master key that the server has made for itself belongs to the catalog",
			"auth":    "a restored server makes no first key",
			"process": "rollups are computed by the stream's own code",
		}},
		{name: "audit", may: []string{"store", "tenant"}},
		{name: "catalog", may: append([]string{"store", "alert", "source"}, nouns...), beyond: map[string]string{
			"auth": "members, sessions and whose tokens a tenant takes are what authentication reads; their types are its",
		}},
		{name: "billing", may: []string{"store", "usage"}, beyond: map[string]string{
			"egress":   "it calls out only through the dial guard",
			"notify/*": "it signs as webhooks are signed",
		}},
		{name: "usage", may: []string{"store", "series", "tenant"}},
		{name: "query", may: []string{"store", "metric", "series", "tenant"}, beyond: map[string]string{
			"event": "what rollups cannot answer is computed from stored events",
		}},
		{name: "store", may: nouns, beyond: map[string]string{
			"alert": "rules and incidents are among what it keeps",
		}},
		{name: "store/segment", may: append([]string{"store/column", "store/shred", "store/pieces"}, nouns...), beyond: map[string]string{
			"store":   "the seam whose questions about events it answers",
			"offheap": "where events in memory are",
			"contain": "a fault of reading is that question's",
		}},
		{name: "store/rollup", may: append([]string{"store/column", "store/pieces"}, nouns...), beyond: map[string]string{
			"store": "the seam whose questions about rollups it answers",
		}},
		{name: "store/*", may: nouns, beyond: map[string]string{
			"store":         "the seam that a backend fills",
			"store/segment": "where the embedded backend has its events",
			"store/rollup":  "where it has its rollups",
			"store/pieces":  "what may be wrong with the files of both",
			"offheap":       "where what is not on disk yet is kept",
			"contain":       "a fault of one task of the upkeep is that task's",
			"alert":         "rules and incidents are among what it keeps",
		}},
		{name: "store/postgres/pgtest"},
		{name: "store/shred", may: []string{"store/column"}},
		{name: "store/pieces"},
		{name: "store/column"},
		{name: "process", may: append([]string{"bus"}, nouns...), beyond: map[string]string{
			"alert":   "rules are evaluated on each commit, by the partition's owner",
			"store":   "the types of the seam: it is declared by its provider",
			"offheap": "where identities are kept",
		}},
		{name: "enrich", may: []string{"event"}},
		{name: "bus", may: []string{"event", "tenant"}},
		{name: "lease"},       // who works on which partition
		{name: "bus/bustest"}, // servers for tests
		{name: "ingest", may: []string{"event", "tenant"}, beyond: map[string]string{
			"ingest/*": "the handler picks the wire format by the media type",
			"limit":    "a tenant's rate is charged by the number of events, which only the parser knows",
			"web":      "errors are answered as problems, the caller is who authentication said",
		}},
		{name: "ingest/*", may: []string{"event", "tenant"}},
		{name: "source", may: []string{"event"}, beyond: map[string]string{
			"metric": "a vendor brings its standard metrics along",
			"tenant": "a source belongs to a tenant",
		}},
		{name: "auth", may: []string{"tenant"}, beyond: map[string]string{
			"private": "the first key is left in a file for its owner only",
			"store":   "the types of the seam: it is declared by its provider",
		}},
		{name: "scim"},
		{name: "limit", may: []string{"tenant"}},
		{name: "limit/*", may: []string{"limit", "tenant"}},
		{name: "egress"},
		{name: "offheap"},
		{name: "contain"},
		{name: "event", may: []string{"tenant"}},
		{name: "series", may: []string{"tenant"}},
		{name: "metric", may: []string{"tenant"}, beyond: map[string]string{
			"event":  "a metric is computed from events",
			"series": "and gives observations of a series",
		}},
		{name: "tenant"},
		{name: "demo", may: []string{"client"}},
		{name: "verify", may: append([]string{"store"}, nouns...), beyond: map[string]string{
			"bus":           "the log is what the stored events are compared with",
			"store/*":       "the stores of a stopped server are opened as they are",
			"catalog":       "which metrics there are stands in the catalog",
			"client":        "a running server is asked through its API",
			"client/ledger": "a sender's ledger is compared with what is stored",
		}},
		{name: "client"},
		{name: "client/ledger"},
		{name: "bench", may: []string{"client"}, beyond: map[string]string{
			"app": "without an address it measures a server inside its own process",
		}},
		{name: "bench/*", may: []string{"client", "bench", "bench/*"}},
		{name: "e2e", may: []string{"client"}, beyond: map[string]string{
			"bus/bustest":           "a fleet's NATS servers",
			"store/postgres/pgtest": "and its database",
		}},
		{name: "deploy", beyond: map[string]string{
			"config": "what the manifests set has to be a setting",
		}},
		{name: "fault", may: []string{"client"}, beyond: map[string]string{
			"client/ledger":         "the writers keep one",
			"verify":                "what is stored is compared by the operator's own check",
			"bus/bustest":           "the fleet's NATS servers",
			"store/postgres/pgtest": "the fleet's database",
			"tenant":                "which partition a tenant's events are in",
		}},
		{name: "fault/cmd/faultrun", may: []string{"fault"}},
	}
}

// stateAllowed lists package-level variables that may change or may look as if they did: folder.name → reason.
func stateAllowed() map[string]string {
	return map[string]string{
		"cmd/pulsestream.version": "set by the linker",
		"metric.environment":      "made once, and never changed",
	}
}

// immutable lists constructors whose results nobody can change.
func immutable() []string {
	return []string{"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "netip.MustParsePrefix", "netip.MustParseAddr", "crc32.MakeTable"}
}

func TestImportsFollowTheLayout(t *testing.T) {
	table := layout()
	for _, p := range packages(t) {
		row := find(table, p.name)
		if row < 0 {
			t.Errorf("%s has no row in layout: say what it may import", p.dir)
			continue
		}
		for _, imported := range slices.Sorted(maps.Keys(p.imports)) {
			if !allows(table, row, imported) {
				t.Errorf("%s imports %s (%s), which the layout does not allow", p.name, imported, p.imports[imported])
			}
		}
	}
}

func TestLayoutHasNoCircle(t *testing.T) {
	table := layout()
	state := make([]int, len(table)) // 0 not seen, 1 on the way, 2 done
	var visit func(row int, way []string)
	visit = func(row int, way []string) {
		way = append(slices.Clone(way), table[row].name)
		if state[row] == 1 {
			t.Errorf("the layout allows a circle: %s", strings.Join(way, " → "))
		}
		if state[row] != 0 {
			return
		}
		state[row] = 1
		for other := range table {
			if other != row && allows(table, row, table[other].name) {
				visit(other, way)
			}
		}
		state[row] = 2
	}
	for row := range table {
		visit(row, nil)
	}
}

func TestLayoutNamesOnlyItsRowsAndGivesReasons(t *testing.T) {
	table := layout()
	for _, row := range table {
		for _, name := range append(slices.Collect(maps.Keys(row.beyond)), row.may...) {
			if name != everythingBelow && find(table, name) < 0 {
				t.Errorf("%s may import %s, which has no row", row.name, name)
			}
		}
		for name, reason := range row.beyond {
			if reason == "" {
				t.Errorf("%s → %s goes beyond the design and has no reason", row.name, name)
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.ContainsFunc(p.files, func(f *ast.File) bool { return f.Doc != nil }) {
			t.Errorf("%s has no package comment", p.dir)
		}
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: func init(): let the caller start it", p.position(fn))
				}
			}
		}
	}
}

func TestNoPackageHasMutableState(t *testing.T) {
	allowed := stateAllowed()
	for _, p := range packages(t) {
		if p.testOnly {
			continue
		}
		for _, v := range p.mutable() {
			if allowed[p.name+"."+v.Name] == "" {
				t.Errorf("%s: %s is package-level state: put it into a struct, or into stateAllowed with a reason", p.position(v), v.Name)
			}
		}
	}
}

func TestMutableStateIsTold(t *testing.T) {
	for source, want := range map[string]bool{
		`var errGone = errors.New("gone")`:                              false,
		`var word = regexp.MustCompile("^a$")`:                          false,
		`var _ fmt.Stringer = (*T)(nil)`:                                false,
		"//go:embed all:dist\nvar files embed.FS":                       false,
		`var units = map[string]int{"s": 1}`:                            false,
		`var newline = []byte("\n")`:                                    false,
		`var Units = map[string]int{"s": 1}`:                            true,
		`var hits int`:                                                  true,
		`var mu sync.Mutex`:                                             true,
		`var now = time.Now`:                                            true,
		`var client = newClient()`:                                      true,
		`var defaults = &config{}`:                                      true,
		"var seen = map[string]int{}\nfunc f() { seen[\"a\"] = 1 }":     true,
		"var seen = map[string]int{}\nfunc f() { delete(seen, \"a\") }": true,
		"var list = []int{1}\nfunc f() { list = append(list, 2) }":      true,
		"var opts = config{}\nfunc f() { opts.n++ }":                    true,
		"var opts = config{}\nfunc f() *config { return &opts }":        true,
	} {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, "x.go", "package x\n"+source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		p := pkg{set: set, files: []*ast.File{f}}
		if got := len(p.mutable()) > 0; got != want {
			t.Errorf("mutable = %v, want %v, of\n%s", got, want, source)
		}
	}
}

// find returns the row of a package, the exact one before one with a star, or -1.
func find(table []place, name string) int {
	exact := slices.IndexFunc(table, func(p place) bool { return p.name == name })
	if exact >= 0 {
		return exact
	}
	return slices.IndexFunc(table, func(p place) bool { ok, _ := path.Match(p.name, name); return ok && strings.Contains(p.name, "*") })
}

func allows(table []place, row int, imported string) bool {
	p := table[row]
	target := find(table, imported)
	if target < 0 {
		return false
	}
	to := table[target].name
	if p.beyond[to] != "" || slices.Contains(p.may, to) {
		return true
	}
	return slices.Contains(p.may, everythingBelow) && target > row && internal(to)
}

// internal says whether a row's folder is inside internal/.
func internal(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !slices.Contains([]string{".", "cmd", "client", "bench", "e2e", "fault", "deploy"}, first)
}

// pkg is a folder with Go files in it.
type pkg struct {
	dir      string // from the module's root
	name     string // as in the layout
	testOnly bool   // then its test files are looked at, else only the others
	set      *token.FileSet
	files    []*ast.File
	imports  map[string]string // own packages that it imports, as in the layout, and in which file
}

func (p pkg) position(n ast.Node) string { return p.set.Position(n.Pos()).String() }

// packages reads every Go file of the module whatever its build tags. It walks the folders itself, rather than asking
// go list: so it also sees what is built on other systems only, and go test knows when its cached result is stale.
func packages(t *testing.T) []pkg {
	t.Helper()
	var found []pkg
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if base := d.Name(); dir != "." && (strings.ContainsAny(base[:1], "._") || base == "testdata" || base == "node_modules") {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); dir != "." && err == nil {
			return fs.SkipDir // another module
		}
		p, err := load(dir)
		if err == nil && len(p.files) > 0 {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func load(dir string) (pkg, error) {
	p := pkg{dir: dir, name: shorten(filepath.ToSlash(dir)), set: token.NewFileSet(), imports: map[string]string{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, err
	}
	var source, tests []string
	for _, e := range entries {
		switch file := filepath.Join(dir, e.Name()); {
		case e.IsDir() || !strings.HasSuffix(file, ".go") || strings.ContainsAny(e.Name()[:1], "._"):
		case strings.HasSuffix(file, "_test.go"):
			tests = append(tests, file)
		default:
			source = append(source, file)
		}
	}
	if len(source) == 0 {
		p.testOnly, source = true, tests
	}
	for _, file := range source {
		f, err := parser.ParseFile(p.set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return p, fmt.Errorf("cannot parse: %w", err)
		}
		p.files = append(p.files, f)
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return p, err
			}
			if rest, own := strings.CutPrefix(imported+"/", module+"/"); own {
				p.imports[shorten(strings.TrimSuffix(rest, "/"))] = p.position(i)
			}
		}
	}
	return p, nil
}

// shorten turns a folder into its name in the layout.
func shorten(dir string) string { return strings.TrimPrefix(dir, "internal/") }

// mutable returns the package-level variables that may change: all but blank ones, embedded files, results of the
// constructors that immutable lists, and unexported literals that no statement of the package writes to.
func (p pkg) mutable() []*ast.Ident {
	written := p.written()
	var found []*ast.Ident
	for _, f := range p.files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				if embedded(g.Doc) || embedded(v.Doc) {
					continue
				}
				for i, name := range v.Names {
					literal := i < len(v.Values) && isLiteral(v.Values[i]) && !name.IsExported()
					made := i < len(v.Values) && isImmutable(v.Values[i])
					if name.Name != "_" && ((!literal && !made) || written[name.Name]) {
						found = append(found, name)
					}
				}
			}
		}
	}
	return found
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// isLiteral says whether e is written out in full: a composite literal, or a conversion such as []byte("…").
func isLiteral(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit, *ast.BasicLit:
		return true
	case *ast.CallExpr:
		_, conversion := e.Fun.(*ast.ArrayType)
		return conversion
	}
	return false
}

func isImmutable(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := fn.X.(*ast.Ident)
	return ok && slices.Contains(immutable(), from.Name+"."+fn.Sel.Name)
}

// written collects the names that a statement assigns to, deletes from, or takes the address of. A local variable of the
// same name counts too: rename one of them.
func (p pkg) written() map[string]bool {
	names := map[string]bool{}
	mark := func(e ast.Expr) {
		if id := root(e); id != nil {
			names[id.Name] = true
		}
	}
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						mark(e)
					}
				}
			case *ast.IncDecStmt:
				mark(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					mark(n.X)
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, id.Name) {
					mark(n.Args[0])
				}
			}
			return true
		})
	}
	return names
}

// root is the variable at the bottom of x[i].y, or nil.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
