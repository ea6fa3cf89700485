package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// visitor sends requests as one party and looks for anything of the other in what comes back.
type visitor struct {
	*world
	as, of   *party
	requests int
	open     string          // what the route at hand shows to everybody
	kept     strings.Builder // what was sent that may be shown later: made by oneself, with names that the other has too
}

// ask sends a request and returns the answer's status and body.
func (v *visitor) ask(method, path, body string) (int, string) {
	v.t.Helper()
	resp, b := v.do(method, path, v.as.key, body)
	v.requests++
	var header strings.Builder
	if err := resp.Header.Write(&header); err != nil {
		v.t.Fatal(err)
	}
	if found := v.of.leaked(header.String()+string(b), path+"\n"+body+v.kept.String()+v.open); len(found) > 0 {
		v.t.Errorf("%s %s %s: %d, and it shows %q of another tenant: %s", method, path, body, resp.StatusCode, found, b)
	}
	if resp.StatusCode >= 500 {
		v.t.Errorf("%s %s %s: %d %s", method, path, body, resp.StatusCode, b)
	}
	v.strict(method+" "+path, resp, b)
	return resp.StatusCode, string(b)
}

// published is what a route tells to everybody, which who is about to sign in has to see.
func (v *visitor) published(r route) string {
	if r.id != "get-ways-in" && !strings.HasPrefix(r.path, "/auth/") {
		return ""
	}
	return strings.Join([]string{v.of.tenant, v.of.mark + "identity-provider", v.of.mark + "provider-name", v.of.mark + "issuer", v.of.mark + "client", v.of.loose["issuer"]}, "\n")
}

// strict checks the headers that every answer of the API has, whatever was asked.
func (v *visitor) strict(what string, resp answer, body []byte) {
	v.t.Helper()
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-"} {
		if got := resp.Header.Get(name); !strings.Contains(got, want) && !(name == "Cache-Control" && (strings.Contains(what, " /.well-known/") || strings.HasSuffix(what, "/metadata"))) {
			v.t.Errorf("%s: %s is %q, want %s", what, name, got, want)
		}
	}
	for _, name := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin"} {
		if got := resp.Header.Values(name); len(got) > 0 {
			v.t.Errorf("%s: it has %s: %s", what, name, got)
		}
	}
	media := resp.Header.Get("Content-Type")
	isText := strings.HasPrefix(media, "text/")
	if len(body) > 0 && (media == "" || isText && !strings.Contains(media, "charset=utf-8")) {
		v.t.Errorf("%s: a body of type %q", what, media)
	}
	if media == "application/x-ndjson" { // a JSON value each line
		body = body[:max(0, bytes.IndexByte(body, '\n'))]
	}
	if json.Valid(body) != (strings.HasSuffix(media, "json") || media == "") && len(body) > 0 && !isText {
		v.t.Errorf("%s: what is said to be %q is not: %.80s", what, media, body)
	}
}

// TestNothingOfAnotherTenantIsEverSeen: every route with the name of everything that another tenant has, in its path, its query and its body.
func TestNothingOfAnotherTenantIsEverSeen(t *testing.T) {
	w := newWorld(t)
	routes := w.routes()
	before := w.everything(w.a, routes)
	seen := strings.Join(before, "\n")
	for _, field := range []string{"tenant-name", "source-name", "channel-name", "metric-name", "metric-description", "unit", "filter", "rule-name", "member-name", "token-issuer-name", "provider-name", "group", "scim-name", "scim@example.com", "external", "audience", "member@example.com", "label", "summary", "key-name",
		"comment", "type", "subject", "extension", "data", "member", "dimension-value", "quarantined-event", "quarantined-data", "quarantine-reason"} {
		if !strings.Contains(seen, markA+field) {
			t.Errorf("the tenant itself does not see its %s: the crawl could not find it elsewhere", field)
		}
	}
	v := &visitor{world: w, as: w.b, of: w.a}
	live := v.follow()
	for _, r := range routes {
		if !r.makes() && r.id != "delete-tenant" {
			v.paths(r)
		}
	}
	for _, r := range routes {
		v.queries(r)
	}
	for _, r := range routes { // last, since they make something of one's own by that name
		if r.makes() {
			v.changes(r)
		}
	}
	w.mistakes()
	w.send(w.a, "3")
	live.end()
	if after := w.everything(w.a, routes); !slices.Equal(before, after) {
		for i := range before {
			if before[i] != after[i] {
				t.Errorf("another tenant changed\n%s\nto\n%s", before[i], after[i])
			}
		}
	}
	for _, path := range []string{"/v1/audit?limit=1000", "/v1/audit/export"} { // what one did with the other's names is in one's own log, and not in the other's
		if _, b := w.do("GET", path, w.a.key, ""); !strings.Contains(string(b), markA+"metric") || len(w.b.leaked(string(b), "")) > 0 {
			t.Errorf("%s of a tenant: %q of another are in it: %.300s", path, w.b.leaked(string(b), ""), b)
		}
	}
	w.searchLogAndMetrics()
	t.Logf("%d requests", v.requests)
}

// makes says whether a route makes or changes something by a name that the asker chooses.
func (r route) makes() bool {
	return r.method == http.MethodPut || len(r.parameters) == 0 && r.method != http.MethodGet
}

// paths asks for everything that the other party has by a route's path.
func (v *visitor) paths(r route) {
	v.t.Helper()
	if len(r.parameters) == 0 {
		return
	}
	v.open = v.published(r)
	own, _ := kindOf(r.path)
	if own != "" && v.of.things[own] == nil {
		v.t.Errorf("%s is about a %q, and populate makes none", r.name(), own)
	}
	body := v.body(r, v.of)
	for kind, names := range v.of.things {
		status, answer := v.ask(r.method, r.filled(names), body)
		if kind != own {
			continue
		}
		want := []int{http.StatusNotFound}
		switch {
		case r.permission == "tenants:manage", r.id == "download-report": // not an operator; an address without its signature
			want = []int{http.StatusForbidden}
		case own == "door": // anybody may go to the door: it leads to the identity provider, or back to the page
			want = []int{http.StatusOK, http.StatusSeeOther, http.StatusNotFound, http.StatusBadRequest, http.StatusUnsupportedMediaType}
		case r.id == "receive-webhook": // anybody may knock: it is for whoever has the vendor's secret
			want = []int{http.StatusUnauthorized}
		}
		if !slices.Contains(want, status) {
			v.t.Errorf("%s with another tenant's %s: %d, want %v: %s", r.name(), kind, status, want, answer)
		}
		absent := slices.Clone(names)
		absent[len(absent)-1] = other(absent[len(absent)-1])
		if _, nothing := v.ask(r.method, r.filled(absent), body); r.id != "receive-webhook" && own != "door" && same(answer, names) != same(nothing, absent) {
			v.t.Errorf("%s tells another tenant's %s from one that there is not:\n%s\n%s", r.name(), kind, answer, nothing)
		}
	}
}

// other is a name of the same form.
func other(name string) string {
	last := "a"
	if strings.HasSuffix(name, "a") {
		last = "b"
	}
	return name[:len(name)-1] + last
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// same is an answer without what differs from request to request.
func same(answer string, names []string) string {
	answer = requestID.ReplaceAllString(answer, "")
	for _, n := range names {
		answer = strings.ReplaceAll(answer, n, "…")
	}
	return answer
}

// body is the example of a route's body, with the names of things of a party.
func (v *visitor) body(r route, of *party) string {
	v.t.Helper()
	example := examples()[r.id]
	if example == nil {
		return ""
	}
	b, err := json.Marshal(example(v.as, of))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b)
}

// queries puts every name of the other party into every parameter of a route's query.
func (v *visitor) queries(r route) {
	v.t.Helper()
	if reads := r.method == http.MethodGet || r.id == "end-sessions"; !reads || r.permission == "tenants:manage" {
		return
	}
	v.open = v.published(r)
	path := r.path
	if kind, _ := kindOf(r.path); len(r.parameters) > 0 && v.as.things[kind] != nil {
		path = r.filled(v.as.things[kind])
	}
	var values []string
	for _, names := range v.of.things {
		values = append(values, names...)
	}
	for _, text := range v.of.loose {
		values = append(values, text)
	}
	for _, word := range []string{"type", "subject", "dimension-value", "metric", "*"} {
		values = append(values, v.of.mark+word, "place:"+v.of.mark+word)
	}
	for _, name := range []string{"tenant", "tenant_id", "tenantid", "member", "key"} {
		v.ask(r.method, path+"?"+url.Values{name: {v.of.tenant}}.Encode(), "")
	}
	for _, name := range r.query {
		for _, value := range values {
			v.ask(r.method, path+"?"+url.Values{name: {value}}.Encode(), "")
		}
	}
	if u, err := url.Parse(v.of.loose["report-url"]); err == nil && r.id == "download-report" { // the other's signature for one's own report
		if status, _ := v.ask(r.method, path+"?"+u.RawQuery, ""); status != http.StatusForbidden {
			v.t.Errorf("a signature for another report: %d", status)
		}
	}
}

// changes puts something by the name of the other's: that is one's own, or nothing.
func (v *visitor) changes(r route) {
	v.t.Helper()
	names := []string{"nothing"}
	if kind, _ := kindOf(r.path); v.of.things[kind] != nil {
		names = v.of.things[kind]
	}
	for _, of := range []*party{v.of, v.as} {
		body := v.body(r, of)
		v.kept.WriteString(r.filled(names) + "\n" + body + "\n")
		v.ask(r.method, r.filled(names), body)
	}
}

// everything is what a party itself sees of what it has.
func (w *world) everything(p *party, routes []route) []string {
	w.t.Helper()
	volatile := regexp.MustCompile(`"(request_id|url|url_expires_at|last_used_at|last_seen_at|fill)":("[^"]*"|\{[^}]*\}),?|,?\{"at":"[^"]*","kind":"notif[^}]*\}`)
	var all []string
	for _, r := range routes {
		kind, _ := kindOf(r.path)
		if r.method != http.MethodGet || r.permission == "" || r.permission == "tenants:manage" || slices.Contains([]string{"get-overview", "query-metric", "list-events", "live", "get-account", "get-usage", "list-audit", "verify-audit", "export-audit"}, r.id) {
			continue
		}
		path := r.path
		if len(r.parameters) > 0 {
			if p.things[kind] == nil {
				continue // paths has said so
			}
			path = r.filled(p.things[kind])
		}
		if r.id == "list-sessions" {
			path += "?all=true"
		}
		resp, b := w.do(r.method, path, p.key, "")
		if resp.StatusCode != http.StatusOK {
			w.t.Errorf("its own %s: %d %s", path, resp.StatusCode, b)
		}
		text := volatile.ReplaceAllString(string(b), "")
		all = append(all, path+" "+resp.Header.Get("ETag")+" "+text)
	}
	return all
}

// follow opens a live connection that asks for all that the other party has; what comes is looked at until end.
func (v *visitor) follow() *follower {
	v.t.Helper()
	c := client.New("http://"+v.Addr(), v.as.key)
	live, err := c.Live(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	f := &follower{visitor: v, live: live, done: make(chan struct{})}
	for _, s := range []client.Subscription{{ID: "1", Topic: "events"}, {ID: "2", Topic: "incidents"}, {ID: "3", Metric: v.of.mark + "metric", GroupBy: []string{"place"}, Since: "15m"},
		{ID: "4", Metric: "events", GroupBy: []string{"type", "source"}, Since: "15m"}, {ID: "5", Metric: "events", Where: map[string]string{"type": v.of.mark + "type"}}} {
		if err := live.Subscribe(v.t.Context(), s); err != nil {
			v.t.Fatal(err)
		}
	}
	go f.read()
	return f
}

type follower struct {
	*visitor
	live   *client.Live
	done   chan struct{}
	frames int
}

func (f *follower) read() {
	defer close(f.done)
	sent, err := json.Marshal(examples()["send-events"](f.as, f.of))
	if err != nil {
		f.t.Error(err)
	}
	asked := f.of.mark + "metric " + f.of.mark + "type " + string(sent)
	for _, names := range f.of.things { // the crawl makes things of one's own under these names
		asked += " " + strings.Join(names, " ")
	}
	for {
		frame, err := f.live.Next(context.Background())
		if err != nil {
			return
		}
		text, err := json.Marshal(frame)
		if err != nil {
			f.t.Error(err)
		}
		f.frames++
		if found := f.of.leaked(string(text), asked); len(found) > 0 {
			f.t.Errorf("a live frame shows %q of another tenant: %s", found, text)
		}
		if strings.Contains(string(text), f.as.mark+"live") {
			return
		}
	}
}

// end sends an event of one's own, which comes after all of the other's that were to come, and waits for it.
func (f *follower) end() {
	f.t.Helper()
	f.call(f.as.key, "POST", "/v1/events", map[string]any{"type": f.as.mark + "live", "source": f.as.mark + "live"})
	select {
	case <-f.done:
	case <-time.After(10 * time.Second):
		f.t.Error("the connection's own event did not come")
	}
	_ = f.live.Abort()
	if f.frames < 5 {
		f.t.Errorf("only %d frames came", f.frames)
	}
}

// mistakes are requests of a tenant that fail at every stage, with its texts in them: none of these belong into the server's log.
func (w *world) mistakes() {
	w.t.Helper()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/events", `{"type":"` + markA + `broken`}, {"POST", "/v1/events", `{"type":"` + markA + `late","time":"1999-01-01T00:00:00Z"}`},
		{"PUT", "/v1/metrics/" + markA + "bad", `{"filter":"` + markA + `cel((("}`}, {"PUT", "/v1/rules/" + markA + "bad", `{"metric":"` + markA + `none","condition":{"type":"threshold","op":">","value":1}}`},
		{"PUT", "/v1/channels/" + markA + "bad", `{"type":"` + markA + `pigeon","config":{}}`}, {"GET", "/v1/metrics/" + markA + "metric/query?where=" + markA, ""},
		{"POST", "/v1/channels/" + markA + "channel/test", ""}, {"POST", "/v1/hooks/" + w.a.loose["hook"], `{"text":"` + markA + `hook"}`},
		{"GET", "/v1/events?cursor=" + markA, ""}, {"PATCH", "/v1/" + markA, ""},
	} {
		w.do(c.method, c.path, w.a.key, c.body)
	}
	w.do("GET", "/v1/tenant", markA+"credentials", "")
}

// searchLogAndMetrics looks for the tenants' texts where only the installation's belong. A line of the log may name the tenant, and the channel, the incident and the member
// by which its operator finds what it is about; one for debugging has the path that was asked for.
func (w *world) searchLogAndMetrics() {
	w.t.Helper()
	lines, names := w.log.lines(), 0
	for _, line := range lines {
		var entry map[string]any
		if line == "" || json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		names++
		for _, name := range []string{"tenant.id", "channel", "incident", "user.id"} {
			delete(entry, name)
		}
		if entry["log.level"] == "debug" {
			delete(entry, "url.path")
		}
		rest, err := json.Marshal(entry)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range []*party{w.a, w.b} {
			if found := p.leaked(string(rest), ""); len(found) > 0 {
				w.t.Errorf("the log shows %q: %s", found, line)
			}
		}
	}
	if names < 100 {
		w.t.Errorf("the log has only %d lines: was it not written to?", names)
	}
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		_, b := w.do("GET", path, "", "")
		for _, p := range []*party{w.a, w.b} {
			if found := p.leaked(string(b), ""); len(found) > 0 {
				w.t.Errorf("%s shows %q", path, found)
			}
		}
	}
}
