package app_test

import (
	"bufio"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
)

// route is an operation of the published description, which is made from the route table.
type route struct {
	method, path, id string
	permission       auth.Permission // "" for public ones
	parameters       []string        // of the path
	query            []string
	body             bool
}

func (r route) name() string { return r.method + " " + r.path }

var parameter = regexp.MustCompile(`\{([a-z_]+)\}`)

// routes reads them from a running server.
func (w *world) routes() []route {
	w.t.Helper()
	_, b := w.do("GET", "/openapi.json", "", "")
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Permission  string `json:"x-permission"`
			Parameters  []struct{ Name, In string }
			RequestBody *struct{}
		}
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		w.t.Fatal(err)
	}
	var all []route
	for path, item := range spec.Paths {
		for method, op := range item {
			r := route{method: strings.ToUpper(method), path: path, id: op.OperationID, permission: auth.Permission(op.Permission), body: op.RequestBody != nil}
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				r.parameters = append(r.parameters, m[1])
			}
			for _, p := range op.Parameters {
				if p.In == "query" {
					r.query = append(r.query, p.Name)
				}
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(x, y route) int { return strings.Compare(x.name(), y.name()) })
	return all
}

// filled is the path with the parameters' values.
func (r route) filled(values []string) string {
	i := 0
	return parameter.ReplaceAllStringFunc(r.path, func(string) string {
		v := values[min(i, len(values)-1)]
		i++
		return url.PathEscape(v)
	})
}

// TestEveryRouteIsInTheTable: whatever is put on the mux is either described with the permission that it takes, or named here as public. A path whose
// parameters or body the crawl does not know how to fill fails too.
func TestEveryRouteIsInTheTable(t *testing.T) {
	w := &world{instance: start(t, settings(t.TempDir()), givenKey)}
	described := map[string]route{}
	open, kinds, bodies := public(), ownKinds(), examples()
	for _, r := range w.routes() {
		described[r.name()] = r
		switch known := r.permission == anybody || slices.ContainsFunc(auth.Permissions(), func(g auth.Grant) bool { return g.Permission == r.permission }); {
		case r.permission == "" && open[r.name()] == "":
			t.Errorf("%s takes no permission: register it with one, or name it in public with what protects it", r.name())
		case r.permission != "" && !known:
			t.Errorf("%s takes %q, which is not in the table of permissions", r.name(), r.permission)
		case r.permission != "" && open[r.name()] != "":
			t.Errorf("%s takes a permission and is called public", r.name())
		}
		if _, ok := kindOf(r.path); len(r.parameters) > 0 && !ok {
			t.Errorf("%s: ownKinds does not say what its parameters name", r.name())
		}
		if _, ok := bodies[r.id]; r.body && !ok {
			t.Errorf("%s (%s) has no example of its body: examples needs one that names another tenant's things", r.name(), r.id)
		}
	}
	for pattern, where := range patterns(t) {
		if _, ok := described[pattern]; !ok && open[pattern] == "" {
			t.Errorf("%s: %s is on the mux, but not in the published description: register it, or name it in public", where, pattern)
		}
	}
	for path := range kinds {
		if !slices.ContainsFunc(slices.Collect(maps.Values(described)), func(r route) bool { return r.path == path || strings.HasPrefix(r.path, path+"/") }) {
			t.Errorf("ownKinds has %s, which is no path any more", path)
		}
	}
}

// patterns are those that the source puts on a mux, with the place. One that is no plain text cannot be checked, and is refused.
func patterns(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "bustest") || strings.Contains(path, "/demo/") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			to, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || to.Sel.Name != "Handle" && to.Sel.Name != "HandleFunc" {
				return true
			}
			where := set.Position(call.Pos()).String()
			text, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the pattern of a route is not written as a text, so that nobody can see that it is in the table", where)
				return true
			}
			pattern, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Error(err)
			}
			found[pattern] = where
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d patterns were found in the source: has the way of registering them changed?", len(found))
	}
	return found
}

// TestEveryRouteTakesItsPermissionAndNoOther: every route, by every role, by keys held to each one permission, by access tokens, by the operator and by nobody.
func TestEveryRouteTakesItsPermissionAndNoOther(t *testing.T) {
	w := newWorld(t)
	type caller struct {
		name, bearer string
		can          func(auth.Permission) bool
	}
	callers := []caller{{"nobody", "", nil}, {"a stranger", "ps_abcdefghijklmnop_" + strings.Repeat("a", 40), nil},
		{"the operator", givenKey, func(p auth.Permission) bool { return auth.RoleOwner.Can(p) || p == auth.TenantsManage }}}
	for _, role := range auth.Roles() {
		k := w.call(w.b.key, "POST", "/v1/keys", map[string]any{"name": "a " + string(role), "role": role})["secret"].(string)
		callers = append(callers, caller{string(role), k, role.Can}, caller{"a token of " + string(role), w.token(k), role.Can})
	}
	for _, g := range auth.Permissions() {
		if !auth.RoleOwner.Can(g.Permission) {
			continue
		}
		k := w.call(w.b.key, "POST", "/v1/keys", map[string]any{"name": "held", "role": "owner", "scopes": []auth.Permission{g.Permission}})["secret"].(string)
		callers = append(callers, caller{"a key for " + string(g.Permission), k, func(p auth.Permission) bool { return p == g.Permission }})
	}
	asked := 0
	for _, r := range w.routes() {
		if r.permission == "" || r.id == "delete-tenant" {
			continue
		}
		for _, c := range callers {
			may := c.can != nil && (r.permission == anybody || c.can(r.permission) || slices.ContainsFunc(suffices()[r.name()], c.can))
			resp, b := w.do(r.method, r.filled([]string{"nothing"}), c.bearer, "")
			asked++
			switch got := resp.StatusCode; {
			case c.can == nil && got != http.StatusUnauthorized:
				t.Errorf("%s by %s: %d, want 401", r.name(), c.name, got)
			case c.can != nil && !may && got != http.StatusForbidden:
				t.Errorf("%s by %s: %d, want 403", r.name(), c.name, got)
			case may && (got == http.StatusUnauthorized || got == http.StatusForbidden || got >= 500):
				t.Errorf("%s by %s, who has %s: %d %s", r.name(), c.name, r.permission, got, b)
			}
		}
	}
	t.Logf("%d requests", asked)
}

// TestAMegabyteOfDotsIsRefusedAtOnceOverHTTPToo: as far as a header may be long it costs next to nothing to refuse, and a longer one is not read.
func TestAMegabyteOfDotsIsRefusedAtOnceOverHTTPToo(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	for dots, status := range map[int]string{50 << 10: "401", 1 << 20: "431"} {
		request := []byte("GET /v1/tenant HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat(".", dots) + "\r\n\r\n")
		least := time.Hour
		for range 50 {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", i.Addr())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			go func() { _, _ = conn.Write(request) }() // the server may close before it has read all
			line, err := bufio.NewReader(conn).ReadString('\n')
			least = min(least, time.Since(began))
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+status) {
				t.Fatalf("%d dots: %q, %v", dots, line, err)
			}
			conn.Close()
		}
		t.Logf("%d dots are refused within %s", dots, least)
		if least > time.Millisecond {
			t.Errorf("%d dots: %s at best", dots, least)
		}
	}
}

// token changes a key into an access token.
func (w *world) token(key string) string {
	w.t.Helper()
	parts := strings.Split(key, "_")
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {parts[1]}, "client_secret": {parts[2]}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.Addr()+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		w.t.Fatal(resp.Status, err)
	}
	return out.Token
}
