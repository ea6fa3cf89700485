package pulsestream_test

import (
	"encoding/json"
	"go/ast"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shipped are the packages that are in the binary: not benchmarks, test servers and fault runs.
func shipped(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(packages(t), func(p pkg) bool {
		first, _, _ := strings.Cut(p.dir, "/")
		return p.testOnly || slices.Contains([]string{"bench", "fault", "e2e", "deploy", "."}, first) || slices.Contains([]string{"bus/bustest", "limit/limittest", "store/postgres/pgtest", "store/storetest"}, p.name)
	})
}

// uses gives the imports of a package that match.
func (p pkg) uses(match func(path string) bool) map[string]string {
	found := map[string]string{}
	for _, f := range p.files {
		for _, i := range f.Imports {
			if path := strings.Trim(i.Path.Value, `"`); match(path) {
				found[path] = p.position(i)
			}
		}
	}
	return found
}

// section is a part of docs/security.md between its markers.
func section(t *testing.T, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(read(t, "docs/security.md"), "<!-- "+name+": begin -->")
	text, _, ended := strings.Cut(after, "<!-- "+name+": end -->")
	if !ok || !ended {
		t.Fatalf("docs/security.md has no section %s between markers", name)
	}
	return text
}

// rows reads a table: the code in its first column → all code in its last.
func rows(table string) map[string][]string {
	code := regexp.MustCompile("`([^`]+)`")
	found := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if first := code.FindStringSubmatch(cells[0]); first != nil && len(cells) > 1 {
			found[first[1]] = []string{}
			for _, m := range code.FindAllStringSubmatch(cells[len(cells)-1], -1) {
				found[first[1]] = append(found[first[1]], m[1])
			}
		}
	}
	return found
}

// TestEveryUseOfCryptographyIsInTheInventory: which package uses what, and nothing that is not listed.
func TestEveryUseOfCryptographyIsInTheInventory(t *testing.T) {
	listed := rows(section(t, "cryptography"))
	used := map[string]map[string]bool{}
	for _, p := range shipped(t) {
		for path, where := range p.uses(func(path string) bool {
			return strings.HasPrefix(path, "crypto") || strings.Contains(path, "x/crypto/") || strings.Contains(path, "xmldsig") || strings.Contains(path, "saml") && strings.Contains(path, ".com/") && !strings.HasPrefix(path, module)
		}) {
			if !slices.Contains(listed[path], p.name) {
				t.Errorf("%s: %s uses %s: the inventory of docs/security.md has to say what for", where, p.name, path)
			}
			if used[path] == nil {
				used[path] = map[string]bool{}
			}
			used[path][p.name] = true
		}
	}
	for path, names := range listed {
		for _, name := range names {
			if !used[path][name] {
				t.Errorf("the inventory says that %s uses %s, which it does not", name, path)
			}
		}
	}
	for _, path := range []string{"crypto/des", "crypto/rc4", "crypto/md5", "crypto/dsa", "golang.org/x/crypto/md4", "golang.org/x/crypto/ripemd160"} {
		if used[path] != nil {
			t.Errorf("%s is used", path)
		}
	}
}

// TestNothingIsImportedThatIsNotNeeded: what would open a door that the server does not have. A package that may have it is named with the reason.
func TestNothingIsImportedThatIsNotNeeded(t *testing.T) {
	allowed := map[string]map[string]string{
		"unsafe": {"event": "text without a copy, on the way of every event", "live": "epoll", "query": "text without a copy", "report": "text without a copy", "store/duckdb": "text without a copy", "store/segment": "text without a copy",
			"store/column": "text without a copy", "store/shred": "text without a copy", "process": "text without a copy", "offheap": "where a large page may begin"},
		"text/template": {"notify/email": "the text of a mail: a constant, filled with values"},
		"encoding/xml":  {"signin/saml": "SAML is XML; a document type is refused before it is read"},
	}
	doors := regexp.MustCompile(`^(os/exec|plugin|encoding/gob|unsafe|text/template|encoding/xml|expvar|net/http/pprof|net/http/cgi|net/http/fcgi|net/rpc.*|net/smtp)$|ldap|xpath|latex|memcache|graphql|webrtc|pion/|log4|sprig|goja|otto|yaegi|lua`)
	for _, p := range shipped(t) {
		for path, where := range p.uses(doors.MatchString) {
			if p.name == "cmd/pulsestream" && path == "net/http/pprof" {
				continue // none at present; a profile of the bench command would not be served
			}
			if allowed[path][p.name] == "" {
				t.Errorf("%s: %s imports %s", where, p.name, path)
			}
		}
	}
}

// TestSecretsComeFromTheSystemsRandomSource: whoever makes secrets knows no other.
func TestSecretsComeFromTheSystemsRandomSource(t *testing.T) {
	makers := 0
	for _, p := range shipped(t) {
		if len(p.uses(func(path string) bool { return path == "crypto/rand" })) > 0 {
			makers++
		}
		if p.name == "demo" { // simulated traffic, the same each time
			continue
		}
		for path, where := range p.uses(func(path string) bool { return strings.HasPrefix(path, "math/rand") }) {
			t.Errorf("%s: %s uses %s", where, p.name, path)
		}
	}
	if makers < 4 {
		t.Errorf("only %d packages use crypto/rand", makers)
	}
}

// TestNoPatternIsMadeOfWhatSomebodySends: regular expressions are constants.
func TestNoPatternIsMadeOfWhatSomebodySends(t *testing.T) {
	allowed := map[string]string{"metric": "matches() of CEL: RE2, linear in its text, and bounded"}
	for _, p := range shipped(t) {
		p.calls(func(call *ast.CallExpr, from, name string) {
			if from != "regexp" || !strings.Contains(name, "Compile") || allowed[p.name] != "" {
				return
			}
			if _, constant := call.Args[0].(*ast.BasicLit); !constant {
				t.Errorf("%s: a pattern that is no constant", p.position(call))
			}
		})
	}
}

// calls shows each call of a function of another package.
func (p pkg) calls(show func(call *ast.CallExpr, from, name string)) {
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if to, ok := call.Fun.(*ast.SelectorExpr); ok {
				if from, ok := to.X.(*ast.Ident); ok {
					show(call, from.Name, to.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestQueriesAreTextsWithParameters: no value is put into a statement by printing it. Names of tables and placeholders may be.
func TestQueriesAreTextsWithParameters(t *testing.T) {
	statement := regexp.MustCompile(`^.(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b.*(%s|%v|%q)`)
	looked := 0
	for _, p := range shipped(t) {
		if !strings.HasPrefix(p.name, "store/") {
			if len(p.uses(func(path string) bool { return path == "database/sql" || strings.Contains(path, "jackc/pgx") })) > 0 && p.name != "backup" && p.name != "app" {
				t.Errorf("%s speaks SQL: only the stores do", p.name)
			}
			continue
		}
		looked++
		p.calls(func(call *ast.CallExpr, from, _ string) {
			if from != "fmt" || len(call.Args) < 2 {
				return
			}
			text, ok := call.Args[0].(*ast.BasicLit)
			if !ok || !statement.MatchString(text.Value) {
				return
			}
			for _, value := range call.Args[1:] {
				if sel, ok := value.(*ast.SelectorExpr); ok && slices.Contains([]string{"Tenant", "Source", "ID", "Slug", "Type", "Subject"}, sel.Sel.Name) {
					t.Errorf("%s: a statement with a value in its text", p.position(call))
				}
			}
		})
	}
	if looked < 3 {
		t.Errorf("only %d stores were looked at", looked)
	}
}

// TestEverythingThatCallsOutIsListed: each package that opens a connection to elsewhere has a row that says to whom.
func TestEverythingThatCallsOutIsListed(t *testing.T) {
	listed := rows(section(t, "connections"))
	out := map[string]string{}
	for _, p := range shipped(t) {
		for path, where := range p.uses(func(path string) bool {
			return path == module+"/internal/egress" || strings.Contains(path, "nats-io/nats.go") || strings.Contains(path, "jackc/pgx") || strings.Contains(path, "redis/rueidis") || strings.HasPrefix(path, "google.golang.org/grpc")
		}) {
			out[p.name] = where + " " + path
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if from, ok := sel.X.(*ast.Ident); ok && (from.Name == "net" && strings.HasPrefix(sel.Sel.Name, "Dial") || from.Name == "http" && (sel.Sel.Name == "Client" || sel.Sel.Name == "Transport")) {
						out[p.name] = p.position(sel)
					}
				}
				return true
			})
		}
	}
	for name, where := range out {
		if _, ok := listed[name]; !ok {
			t.Errorf("%s: %s opens connections: docs/security.md has to say to whom", where, name)
		}
	}
	for name := range listed {
		if out[name] == "" {
			t.Errorf("docs/security.md says that %s opens connections, which it does not", name)
		}
	}
}

// TestEveryKindOfThingIsClassified: each kind of the catalog has a row that says how far it is protected.
func TestEveryKindOfThingIsClassified(t *testing.T) {
	listed := rows(section(t, "data"))
	kinds := regexp.MustCompile(`Kind\w+\s+Kind = "([a-z-]+)"`).FindAllStringSubmatch(read(t, "internal/store/catalog.go"), -1)
	for _, k := range kinds {
		if _, ok := listed[k[1]]; !ok {
			t.Errorf("the kind %s is not classified in docs/security.md", k[1])
		}
	}
	if len(kinds) < 10 {
		t.Errorf("only %d kinds were found", len(kinds))
	}
}

// TestTheSecurityDocumentHasWhatItMust: the chapters that others rely on, each with something in it.
func TestTheSecurityDocumentHasWhatItMust(t *testing.T) {
	parts := map[string]string{}
	for _, part := range strings.Split(read(t, "docs/security.md"), "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		parts[title] = text
	}
	for title, words := range map[string][]string{
		"API keys":                  {"checksum", "SHA-256", "revoked"},
		"Access tokens":             {"RFC 9068", "jwks.json"},
		"People":                    {"argon2id", "12 h", "7 days", "TOTP", "failure", "names", "session"},
		"Permissions":               {"tenants:manage"},
		"Limits":                    {"16 MiB", "256 KiB", "429", "503"},
		"What is kept, and how":     {"AES-256-GCM", "retention"},
		"Cryptography":              {"rotat"},
		"Who is called":             {"egress"},
		"What is logged":            {"standard error", "days"},
		"Dependencies":              {"govulncheck", "days"},
		"OWASP API Security Top 10": {"API10:2023"},
		"ASVS":                      {"asvs.md"},
	} {
		text, ok := parts[title]
		if !ok {
			t.Errorf("docs/security.md has no chapter %q; it has %q", title, slices.Sorted(maps.Keys(parts)))
		}
		for _, w := range words {
			if ok && !strings.Contains(text, w) {
				t.Errorf("docs/security.md, %s: it does not say anything of %q", title, w)
			}
		}
	}
}

// pageSources are the page's own texts.
func pageSources(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("web/src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d files of the page were found", len(found))
	}
	return found
}

func TestThePageRunsNothingThatItShows(t *testing.T) {
	doors := regexp.MustCompile(`\{@html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|postMessage|addEventListener\("message"|__proto__|javascript:|<iframe|<object|<embed|import\(\s*[^"'\s]`)
	for path, text := range pageSources(t) {
		if found := doors.FindString(text); found != "" {
			t.Errorf("%s has %q", path, found)
		}
		for _, m := range regexp.MustCompile(`https?://[a-z0-9.-]+`).FindAllString(text, -1) {
			if !strings.Contains(m, "example") && !strings.Contains(m, "w3.org") && !strings.Contains(m, "localhost") && !strings.Contains(m, "127.0.0.1") && !regexp.MustCompile(`href="`+regexp.QuoteMeta(m)).MatchString(text) && !strings.Contains(text, "placeholder=\""+m) {
				t.Logf("%s mentions %s", path, m)
			}
		}
	}
	if built := read(t, "web/index.html"); strings.Contains(built, "http://") || strings.Contains(built, "https://") {
		t.Error("the page loads something from elsewhere")
	}
}

func TestThePageAsksForPasswordsAsBrowsersExpect(t *testing.T) {
	fields := 0
	for path, text := range pageSources(t) {
		for _, input := range regexp.MustCompile(`(?s)<(?:input|Field|Text|PasswordField)\b[^>]*autocomplete="(?:current|new)-password"[^>]*>`).FindAllString(text, -1) {
			fields++
			if !strings.Contains(input, `type="password"`) && !strings.Contains(input, "password") {
				t.Errorf("%s: a field for a password that shows it: %s", path, input)
			}
		}
		if found := regexp.MustCompile(`onpaste|on:paste|preventDefault\(\)[^\n]*paste`).FindString(text); found != "" {
			t.Errorf("%s: pasting is looked at: %s", path, found)
		}
	}
	if fields == 0 {
		t.Error("no field for a password was found: has the way of writing them changed?")
	}
}

func TestThePageKeepsNothingInTheBrowserButTheKeyAndTaste(t *testing.T) {
	allowed := []string{"web/src/lib/session.svelte.ts", "web/src/lib/prefs.svelte.ts"}
	for path, text := range pageSources(t) {
		if found := regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie|caches\.open|serviceWorker`).FindString(text); found != "" && !slices.Contains(allowed, path) {
			t.Errorf("%s uses %s", path, found)
		}
	}
}

func TestTheImageRunsAsNobodyAndHasNoSources(t *testing.T) {
	image, ignored := read(t, "deploy/Dockerfile"), read(t, "deploy/Dockerfile.dockerignore")
	last := image[strings.LastIndex(image, "\nFROM "):]
	if !regexp.MustCompile(`(?m)^USER [1-9]\d+$`).MatchString(last) || strings.Contains(last, "COPY . ") {
		t.Errorf("the last stage is\n%s", last)
	}
	for _, name := range []string{".git", "deploy/.env"} {
		if !slices.Contains(strings.Split(ignored, "\n"), name) {
			t.Errorf("%s is not left out of the image's context", name)
		}
	}
}

func TestNoSecretHasADefault(t *testing.T) {
	for _, m := range regexp.MustCompile("(?m)^\\s*(\\w*(?:Secret|Password|Token|APIKey|KMS|SecretsKey)\\w*)\\s+\\S+\\s+`[^`]*default:\"[^\"]+\"").FindAllStringSubmatch(read(t, "internal/config/config.go"), -1) {
		t.Errorf("the setting %s has a default", m[1])
	}
	for _, m := range regexp.MustCompile(`(?mi)^\s*-?\s*(\w*(?:password|secret|api_key)\w*)[:=]\s*"?([^\s"$][^\s]*)`).FindAllStringSubmatch(read(t, "deploy/compose.yaml"), -1) {
		if !strings.Contains(m[2], "${") {
			t.Errorf("deploy/compose.yaml has %s: %s", m[1], m[2])
		}
	}
}

// TestVersionsAreFixedAndComeFromTheRegistries: what is built tomorrow is what was built today.
func TestVersionsAreFixedAndComeFromTheRegistries(t *testing.T) {
	mod := read(t, "go.mod")
	if strings.Contains(mod, "\nreplace ") {
		t.Error("go.mod replaces a module")
	}
	sums := read(t, "go.sum")
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?(\S+\.\S+/\S+) (v\S+)`).FindAllStringSubmatch(mod, -1) {
		if !strings.Contains(sums, m[1]+" "+m[2]+"/go.mod h1:") {
			t.Errorf("%s %s has no checksum", m[1], m[2])
		}
	}
	dependencies := regexp.MustCompile(`(?s)"(?:devD|d)ependencies": \{(.*?)\}`).FindAllStringSubmatch(read(t, "web/package.json"), -1)
	for _, d := range dependencies {
		for _, m := range regexp.MustCompile(`"([^"]+)": "([^"]+)"`).FindAllStringSubmatch(d[1], -1) {
			if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(m[2]) {
				t.Errorf("%s is %s in web/package.json", m[1], m[2])
			}
		}
	}
	var lock struct {
		Packages map[string]struct {
			Version, Integrity, Resolved string
			InBundle                     bool // within another, which has a hash
		}
	}
	if err := json.Unmarshal([]byte(read(t, "web/package-lock.json")), &lock); err != nil || len(lock.Packages) < 10 {
		t.Fatal(len(lock.Packages), err)
	}
	for name, p := range lock.Packages {
		if name != "" && (p.Version == "" || !p.InBundle && !strings.HasPrefix(p.Integrity, "sha512-") || p.Resolved != "" && !strings.HasPrefix(p.Resolved, "https://registry.npmjs.org/")) {
			t.Errorf("web/package-lock.json: %s is %+v", name, p)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(read(t, "deploy/Dockerfile"), -1) {
		if strings.HasSuffix(m[1], ":latest") || !strings.Contains(m[1], ":") {
			t.Errorf("the image %s has no version", m[1])
		}
	}
	if !strings.Contains(read(t, "Makefile"), "$(NPM) ci ") {
		t.Error("make does not install the page's packages by npm ci")
	}
}
