package app_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
)

// logged is a server whose log can be read.
func logged(t *testing.T) *world {
	t.Helper()
	w := &world{instance: &instance{t: t}, log: &recorded{}}
	server, err := app.New(t.Context(), settings(t.TempDir()), config.Secrets{BootstrapAPIKey: givenKey}, app.Options{Version: "test", Log: app.NewLogger(w.log, "json", "debug"), Announce: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.App = server
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	return w
}

// raw sends a request as it is and returns the status and what comes after it.
func (w *world) raw(request string) (status, answer string) {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		w.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		w.t.Fatalf("%q: %v", request, err)
	}
	rest, _ := io.ReadAll(in)
	return strings.TrimSpace(strings.TrimPrefix(line, "HTTP/1.1 ")), string(rest)
}

func TestForgedHeadersAndMethodsChangeNothing(t *testing.T) {
	w := logged(t)
	credentials := "Authorization: Bearer " + givenKey + "\r\n"
	end := "Connection: close\r\n\r\n"
	for name, c := range map[string]struct{ request, status, without string }{
		"who one is":                  {"GET /v1/tenant HTTP/1.1\r\nHost: x\r\nX-User-Id: owner\r\nX-Forwarded-User: admin\r\nX-Real-IP: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n" + end, "401 ", ""},
		"another method":              {"GET /v1/keys HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n" + credentials + end, "200 ", ""},
		"another path":                {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Original-URL: /v1/keys\r\nX-Rewrite-URL: /v1/keys\r\n" + credentials + end, "200 ", `"role"`},
		"TRACE":                       {"TRACE /v1/tenant HTTP/1.1\r\nHost: x\r\n" + credentials + end, "405 ", givenKey},
		"TRACE of the page":           {"TRACE / HTTP/1.1\r\nHost: x\r\n" + credentials + end, "405 ", givenKey},
		"CONNECT":                     {"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n" + end, "40", ""},
		"two lengths":                 {"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 40\r\n" + credentials + end + "{}", "400 ", ""},
		"a length and an encoding":    {"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n" + credentials + end + "0\r\n\r\nGET /v1/keys HTTP/1.1\r\nHost: x\r\n" + credentials + "\r\n", "4", `"role"`},
		"an unknown encoding":         {"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n" + credentials + end + "0\r\n\r\n", "501 ", ""},
		"a space before the colon":    {"GET /v1/tenant HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer " + givenKey + "\r\n" + end, "400 ", ""},
		"two hosts":                   {"GET /v1/tenant HTTP/1.1\r\nHost: x\r\nHost: y\r\n" + credentials + end, "400 ", ""},
		"two credentials":             {"GET /v1/tenant HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nothing\r\n" + credentials + end, "401 ", ""},
		"a folder of the page":        {"GET /assets/ HTTP/1.1\r\nHost: x\r\n" + end, "404 ", ".js\""},
		"a way up":                    {"GET /assets/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n" + end, "", "root:"},
		"an encoded way up":           {"GET /assets/%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: x\r\n" + end, "", "root:"},
		"the sources":                 {"GET /.git/config HTTP/1.1\r\nHost: x\r\n" + end, "", "[core]"},
		"a profile":                   {"GET /debug/pprof/heap HTTP/1.1\r\nHost: x\r\n" + credentials + end, "", "goroutine"},
		"a report's way up":           {"GET /v1/reports/..%2f..%2fcatalog.sqlite/file?expires=1&signature=a HTTP/1.1\r\nHost: x\r\n" + credentials + end, "40", "SQLite"},
		"a form of another site":      {"POST /v1/keys HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" + end + "{}", "401 ", ""},
		"a body of another type":      {"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 28\r\n" + credentials + end + `{"name":"k","role":"viewer"}`, "4", ""},
		"a question by another site":  {"OPTIONS /v1/keys HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n" + end, "405 ", "Access-Control-Allow"},
		"a header that is too long":   {"GET /v1/tenant HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 80<<10) + "\r\n" + end, "431 ", ""},
		"an answer in two":            {"GET /v1/tenant?a=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\nX-Request-Id: a%0d%0ab\r\n" + credentials + end, "200 ", "Set-Cookie"},
		"a parameter twice":           {"GET /v1/events?limit=1&limit=1000 HTTP/1.1\r\nHost: x\r\n" + credentials + end, "", `"next_cursor":"x"`},
		"credentials in the address":  {"GET /v1/tenant?access_token=" + givenKey + "&key=" + givenKey + " HTTP/1.1\r\nHost: x\r\n" + end, "401 ", givenKey},
		"credentials in HTTP Basic":   {"GET /v1/tenant HTTP/1.1\r\nHost: " + "x\r\nAuthorization: Basic b3duZXI6b3duZXI=\r\n" + end, "401 ", ""},
		"an address that is complete": {"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: x\r\n" + end, "", "ami-id"},
	} {
		status, answer := w.raw(c.request)
		if !strings.HasPrefix(status, c.status) {
			t.Errorf("%s: %s, want %s\n%s", name, status, c.status, answer)
		}
		if c.without != "" && strings.Contains(answer, c.without) {
			t.Errorf("%s: the answer has %q:\n%s", name, c.without, answer)
		}
	}
}

// TestNothingIsChangedByAMethodThatOnlyReads: every path by GET, HEAD and OPTIONS, as the operator.
func TestNothingIsChangedByAMethodThatOnlyReads(t *testing.T) {
	w := logged(t)
	state := func() string {
		var all strings.Builder
		for _, path := range []string{"/v1/keys", "/v1/sources", "/v1/metrics", "/v1/rules", "/v1/channels", "/v1/members", "/v1/admin/tenants"} {
			_, b := w.do("GET", path, givenKey, "")
			all.Write(b)
		}
		return regexp.MustCompile(`"(last_used_at|last_seen_at|updated_at|fill)":("[^"]*"|\{[^}]*\}),?`).ReplaceAllString(all.String(), "")
	}
	before := state()
	for _, r := range w.routes() {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			if resp, _ := w.do(method, r.filled([]string{"nothing"}), givenKey, ""); method == "OPTIONS" && resp.StatusCode < 400 {
				t.Errorf("OPTIONS %s: %d", r.path, resp.StatusCode)
			}
		}
	}
	if after := state(); after != before {
		t.Errorf("reading changed\n%s\nto\n%s", before, after)
	}
}

// TestFieldsThatAreNobodysAreRefused: who writes more than a body has is told so, and changes nothing.
func TestFieldsThatAreNobodysAreRefused(t *testing.T) {
	w := logged(t)
	for _, c := range [][2]string{
		{"PUT /v1/metrics/m", `{"name":"m","builtin":true}`}, {"PUT /v1/metrics/m", `{"name":"m","tenant":"other"}`}, {"PUT /v1/sources/s", `{"vendor":"github","secret":"0123456789abcdef","token":"mine"}`},
		{"POST /v1/keys", `{"name":"k","role":"viewer","created_by":"bootstrap"}`}, {"POST /v1/keys", `{"name":"k","role":"viewer","id":"mine","secret":"mine"}`},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"type":"threshold","op":">","value":1},"tenant":"other"}`}, {"PUT /v1/channels/c", `{"type":"webhook","config":{"url":"https://example.com"},"created_at":"2020-01-01T00:00:00Z"}`},
		{"POST /v1/admin/tenants", `{"id":"t","key":{"secret":"mine"}}`}, {"POST /v1/members", `{"email":"a@example.com","role":"viewer","state":"active"}`}, {"POST /v1/reports", `{"kind":"events","format":"csv","tenant":"other"}`},
	} {
		method, path, _ := strings.Cut(c[0], " ")
		resp, b := w.do(method, path, givenKey, c[1])
		if ignored := strings.HasPrefix(path, "/v1/rules/") && !strings.Contains(string(b), `"other"`); resp.StatusCode != http.StatusUnprocessableEntity && !ignored {
			t.Errorf("%s %s: %d %s", c[0], c[1], resp.StatusCode, b)
		}
	}
}

// TestALineOfTheLogSaysWhenWhatAndWhose: whatever is in it, an entry is one line of JSON with a time in UTC.
func TestALineOfTheLogSaysWhenWhatAndWhose(t *testing.T) {
	w := logged(t)
	w.do("GET", "/v1/a%0d%0a%7b%22log.level%22:%22error%22%7d%1b%5b31m", givenKey, "")
	w.do("GET", "/v1/tenant", givenKey, "")
	entries := 0
	for _, line := range w.log.lines() {
		if line == "" {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		at, _ := e["@timestamp"].(string)
		if when, err := time.Parse(time.RFC3339Nano, at); err != nil || when.Location() != time.UTC || !strings.HasSuffix(at, "Z") {
			t.Errorf("%s: the time is %q", line, at)
		}
		if e["message"] == "" || e["log.level"] == "" || e["service.name"] == "" || strings.Contains(line, "\x1b") {
			t.Error(line)
		}
		if e["log.level"] == "error" {
			t.Errorf("a line was made up: %s", line)
		}
		if e["message"] == "request" && e["http.request.id"] != "" && e["http.response.status_code"] != nil {
			entries++
		}
	}
	if entries < 2 {
		t.Errorf("%d requests were logged", entries)
	}
}

// TestARefusalIsLogged: with who, from where and why, and no more of them than a disk can hold.
func TestARefusalIsLogged(t *testing.T) {
	w := logged(t)
	viewer := w.call(givenKey, "POST", "/v1/keys", map[string]any{"name": "v", "role": "viewer"})["secret"].(string)
	refusals := func(reason string) (n int) {
		for _, line := range w.log.lines() {
			if strings.Contains(line, "a request was refused") && strings.Contains(line, reason) && strings.Contains(line, `"source.address":"127.0.0.1"`) {
				n++
			}
		}
		return n
	}
	w.do("POST", "/v1/keys", viewer, `{"name":"k","role":"viewer"}`)
	if refusals("the permission is missing") != 1 || refusals("keys:write") != 1 {
		t.Errorf("a missing permission: %v", w.log.lines())
	}
	w.do("GET", "/v1/keys", "ps_abcdefghijklmnop_"+strings.Repeat("a", 40), "")
	if refusals("the credentials are not known") != 1 {
		t.Error("unknown credentials are not logged")
	}
	w.do("GET", "/v1/keys", "", "")
	if refusals("") != 2 {
		t.Error("a request without credentials is logged")
	}
	for range 300 {
		w.do("GET", "/v1/keys", "nobody", "")
	}
	if n := refusals("the credentials are not known"); n >= 300 {
		t.Errorf("%d of 300 were logged", n)
	}
	if slices.ContainsFunc(w.log.lines(), func(line string) bool { return strings.Contains(line, viewer) || strings.Contains(line, givenKey) }) {
		t.Error("the log has a key")
	}
}

// TestSignInsAreRecorded: those that fail are in the log, with whose they were and from where.
func TestSignInsAreRecorded(t *testing.T) {
	w := logged(t)
	invited := w.call(givenKey, "POST", "/v1/members", map[string]any{"email": "ada@example.com", "role": "viewer"})
	w.call("", "POST", "/v1/invitations/accept", map[string]any{"token": invited["invitation"].(map[string]any)["token"], "password": "correct horse battery staple"})
	w.do("POST", "/v1/session", "", `{"email":"ada@example.com","password":"another one, and a wrong one"}`)
	id, _ := invited["id"].(string)
	if !slices.ContainsFunc(w.log.lines(), func(line string) bool {
		return strings.Contains(line, "a sign-in was refused") && strings.Contains(line, id) && strings.Contains(line, `"source.address":"127.0.0.1"`)
	}) {
		t.Errorf("not in the log: %v", w.log.lines())
	}
	if slices.ContainsFunc(w.log.lines(), func(line string) bool {
		return strings.Contains(line, "a wrong one") || strings.Contains(line, "battery staple")
	}) {
		t.Error("the log has a password")
	}
}

// TestNoSecretIsTakenFromAnAddress: addresses stand in logs and histories. The few that are credentials are for one thing and for a while.
func TestNoSecretIsTakenFromAnAddress(t *testing.T) {
	w := logged(t)
	allowed := []string{"live ticket", "download-report signature"}
	secret := regexp.MustCompile(`(?i)key|token|secret|password|ticket|signature|code|credential`)
	for _, r := range w.routes() {
		for _, name := range r.query {
			if secret.MatchString(name) && !slices.Contains(allowed, r.id+" "+name) {
				t.Errorf("%s takes %s from its address", r.name(), name)
			}
		}
	}
}

// TestRedirectsGoNowhereElse: what a request says of addresses sends nobody away.
func TestRedirectsGoNowhereElse(t *testing.T) {
	w := logged(t)
	for _, path := range []string{"//evil.example/", "/\\evil.example", "/?next=https://evil.example", "/v1/sign-in?redirect=https://evil.example", "/docs/", "/app", "/app//evil.example/%2e%2e", "/auth/default/none?return_to=https://evil.example",
		"/.//evil.example", "/%2f%2fevil.example"} {
		status, answer := w.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n")
		if found := regexp.MustCompile(`(?im)^location: *([a-z]+:|[/\\]{2}).*$`).FindString(answer); found != "" {
			t.Errorf("%s: %s %s", path, status, found)
		}
	}
}
