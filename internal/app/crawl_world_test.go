package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Marks of the two tenants: every text that one of them writes anywhere begins with its mark, so that a search finds each that got out.
const (
	markA = "zqa-"
	markB = "zqb-"
)

// A world is a server with two tenants that have the same things, each under its own mark.
type world struct {
	*instance
	log  *recorded
	a, b *party
}

// party is a tenant and the names of what it has.
type party struct {
	mark   string
	tenant string
	key    string              // its owner's
	things map[string][]string // kind → the names of one of them, in the order of a path's parameters
	loose  map[string]string   // other texts that lead to something: cursors, tickets, addresses
	ids    []string            // names that the server made, which do not begin with the mark
}

// recorded is a log that can be searched.
type recorded struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *recorded) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Split(r.text.String(), "\n")
}

// newWorld starts the server and has both tenants make one of everything.
func newWorld(t *testing.T) *world {
	t.Helper()
	cfg := settings(t.TempDir())
	cfg.EgressAllow = []string{"127.0.0.1/32"} // where nothing listens: channels may be made, and fail
	a, b := &party{mark: markA, tenant: markA + "tenant"}, &party{mark: markB, tenant: markB + "tenant"}
	quarantine(t, cfg, a, b)
	w := &world{instance: &instance{t: t}, log: &recorded{}, a: a, b: b}
	server, err := app.New(t.Context(), cfg, config.Secrets{BootstrapAPIKey: givenKey}, app.Options{Version: "test", Log: app.NewLogger(w.log, "json", "debug"), Announce: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.App = server
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	for _, p := range []*party{a, b} {
		w.populate(p)
	}
	return w
}

// quarantine puts an event of each tenant where those go that no stage can process, before the server starts: none can be sent that does.
func quarantine(t *testing.T, cfg config.Serve, parties ...*party) {
	t.Helper()
	events, err := duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Clean(cfg.EventsPath()), Log: app.NewLogger(io.Discard, "json", "error")})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parties {
		id := tenant.ID(p.tenant)
		partition := tenant.Partition(id, cfg.Partitions)
		state, err := events.Partition(t.Context(), partition)
		if err != nil {
			t.Fatal(err)
		}
		e := event.Event{ID: p.mark + "quarantined-event", Source: p.mark + "quarantined-source", Type: p.mark + "quarantined-type", Time: time.Now().UTC(), Data: fmt.Appendf(nil, `{"secret":"%squarantined-data"}`, p.mark)}
		if _, err := events.Commit(t.Context(), &store.Commit{Partition: partition, From: state.Offset, To: state.Offset, Quarantine: []store.Quarantined{{
			QuarantineKey: store.QuarantineKey{Tenant: id, ID: p.mark + "quarantined"}, Partition: partition, Stage: "aggregate", Reason: p.mark + "quarantine-reason", Event: &e, At: time.Now().UTC(), Attempts: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := events.Close(); err != nil {
		t.Fatal(err)
	}
}

// call sends a request as a party and wants success. It returns the answer's JSON.
func (w *world) call(key, method, path string, body any) map[string]any {
	w.t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	resp, b := w.do(method, path, key, text)
	if resp.StatusCode >= http.StatusBadRequest {
		w.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	var out map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return out
}

// populate makes a tenant with one of everything that a tenant may have.
func (w *world) populate(p *party) {
	w.t.Helper()
	m := p.mark
	made := w.call(givenKey, "POST", "/v1/admin/tenants", map[string]any{"id": p.tenant, "name": m + "tenant-name"})
	p.key = made["key"].(map[string]any)["secret"].(string)
	p.things = map[string][]string{"tenant": {p.tenant}, "quarantined": {m + "quarantined"}, "first-key": {made["key"].(map[string]any)["id"].(string)}}
	p.loose = map[string]string{}
	p.loose["issuer"] = issuer(w.t, m)
	for _, kind := range []string{"source", "channel", "metric", "rule", "token-issuer", "identity-provider"} { // a rule names the metric and the channel
		p.things[kind] = []string{m + kind}
		w.call(p.key, "PUT", "/v1/"+kind+"s/"+m+kind, examples()["put-"+kind](p, p))
	}
	p.loose["hook"] = hookToken(w.call(p.key, "GET", "/v1/sources/"+m+"source", nil))
	p.things["hook"] = []string{p.loose["hook"]}
	key := w.call(p.key, "POST", "/v1/keys", map[string]any{"name": m + "key-name", "role": "viewer"})
	p.things["key"] = []string{key["id"].(string)}
	p.things["door"] = []string{p.tenant, m + "identity-provider"}
	for _, kind := range []string{"user", "group"} {
		made := w.call(p.key, "POST", "/scim/v2/"+map[string]string{"user": "Users", "group": "Groups"}[kind], examples()["scim-make-"+kind](p, p))
		p.things["scim-"+kind] = []string{made["id"].(string)}
	}
	w.people(p)
	w.send(p, "1")
	w.await("an incident of "+p.tenant, func() bool {
		list := w.call(p.key, "GET", "/v1/incidents", nil)["data"].([]any)
		if len(list) == 0 {
			return false
		}
		p.things["incident"] = []string{list[0].(map[string]any)["id"].(string)}
		return true
	})
	w.call(p.key, "POST", "/v1/incidents/"+p.things["incident"][0]+"/comments", map[string]any{"text": m + "comment"})
	p.things["event"] = []string{m + "event-source", m + "event-1"}
	w.await("an event of "+p.tenant, func() bool { return len(w.call(p.key, "GET", "/v1/events", nil)["data"].([]any)) > 0 })
	ordered := w.call(p.key, "POST", "/v1/reports", map[string]any{"kind": "events", "format": "csv"})
	p.things["report"] = []string{ordered["id"].(string)}
	w.await("a report of "+p.tenant, func() bool {
		r := w.call(p.key, "GET", "/v1/reports/"+p.things["report"][0], nil)
		p.loose["report-url"], _ = r["url"].(string)
		return r["state"] == "done"
	})
	w.send(p, "2")
	w.await("a second event", func() bool { return len(w.call(p.key, "GET", "/v1/events", nil)["data"].([]any)) > 1 })
	p.loose["event-cursor"], _ = w.call(p.key, "GET", "/v1/events?limit=1", nil)["next_cursor"].(string)
	for _, made := range [][]string{p.things["first-key"], p.things["key"], p.things["member"], p.things["session"], p.things["scim-user"], p.things["scim-group"], p.things["incident"], p.things["report"], p.things["hook"], {p.loose["event-cursor"]}} {
		p.ids = append(p.ids, made...)
	}
}

// issuer starts what publishes keys for tokens, as an identity provider of a party would, and returns its name.
func issuer(t *testing.T, mark string) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "a", Algorithm: "ES256", Use: "sig"}}}
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	name := s.URL + "/" + mark + "issuer"
	mux.HandleFunc("GET /"+mark+"issuer/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": name, "jwks_uri": s.URL + "/keys", "authorization_endpoint": name + "/auth", "token_endpoint": name + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256", "RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(keys) })
	return name
}

// people invites somebody, who accepts and is then signed in.
func (w *world) people(p *party) {
	w.t.Helper()
	invited := w.call(p.key, "POST", "/v1/members", map[string]any{"email": p.mark + "member@example.com", "name": p.mark + "member-name", "role": "editor"})
	p.things["member"] = []string{invited["id"].(string)}
	session := w.call("", "POST", "/v1/invitations/accept", map[string]any{"token": invited["invitation"].(map[string]any)["token"], "password": "correct horse battery staple " + p.mark})
	p.things["session"] = []string{session["id"].(string)}
}

// send sends one event of a party, its mark in every field, which its rule then finds too many.
func (w *world) send(p *party, n string) {
	w.t.Helper()
	m := p.mark
	w.call(p.key, "POST", "/v1/events", map[string]any{"id": m + "event-" + n, "source": m + "event-source", "type": m + "type", "subject": m + "subject", "extension": m + "extension",
		"data": map[string]any{"where": m + "dimension-value", "text": m + "data", m + "member": 1}})
}

func hookToken(source map[string]any) string {
	_, token, _ := strings.Cut(source["url"].(string), "/v1/hooks/")
	return token
}

// await polls until a condition holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			w.t.Fatalf("%s did not come to be", what)
		case <-tick.C:
		}
	}
}

// leaked finds what is a party's in a text that somebody else was given, except what that somebody had sent.
func (p *party) leaked(text, sent string) []string {
	if plain, err := url.QueryUnescape(sent); err == nil {
		sent += "\n" + plain
	}
	var found []string
	for _, word := range regexp.MustCompile(regexp.QuoteMeta(p.mark)+`[A-Za-z0-9._@-]*`).FindAllString(text, -1) {
		if !strings.Contains(sent, strings.TrimRight(word, ".-")) {
			found = append(found, word)
		}
	}
	for _, id := range p.ids {
		if strings.Contains(text, id) && !strings.Contains(sent, id) {
			found = append(found, id)
		}
	}
	return found
}
