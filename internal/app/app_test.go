package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/config"
)

type instance struct {
	*app.App
	t    *testing.T
	said bytes.Buffer
}

func settings(dir string) config.Serve {
	return config.Serve{DataDir: dir, Listen: "127.0.0.1:0", Roles: []string{"all"}, Partitions: 2, LogFormat: "json", LogLevel: "error"}
}

func start(t *testing.T, cfg config.Serve, key string) *instance {
	t.Helper()
	i := &instance{t: t}
	a, err := app.New(t.Context(), cfg, config.Secrets{BootstrapAPIKey: key}, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Announce: &i.said, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	i.App = a
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.stop)
	return i
}

func (i *instance) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		i.t.Error(err)
	}
}

// answer is a response that has been read.
type answer struct {
	StatusCode int
	Header     http.Header
}

func (i *instance) do(method, path, key, body string) (answer, []byte) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, "http://"+i.Addr()+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	once := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := (&http.Client{Timeout: time.Minute, CheckRedirect: once}).Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, b
}

const givenKey = "a-key-that-an-operator-has-chosen-01"

func TestTwoServersRunInOneProcessAndKnowNothingOfEachOther(t *testing.T) {
	one, two := start(t, settings(t.TempDir()), givenKey), start(t, settings(t.TempDir()), "")
	if resp, _ := one.do("GET", "/v1/tenant", givenKey, ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the given key: %d", resp.StatusCode)
	}
	if resp, _ := two.do("GET", "/v1/tenant", givenKey, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the other server's key: %d", resp.StatusCode)
	}
	if resp, _ := two.do("GET", "/v1/tenant", two.BootstrapKey(), ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the made key: %d", resp.StatusCode)
	}
}

func TestTheFirstKeyIsShownOnceAndWrittenForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	i := start(t, settings(dir), "")
	key := i.BootstrapKey()
	if !strings.HasPrefix(key, "ps_") || !strings.Contains(i.said.String(), key) {
		t.Errorf("the key %q was not shown: %s", key, i.said.String())
	}
	path := filepath.Join(dir, auth.BootstrapFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	i.stop()
	again := start(t, settings(dir), "")
	if again.BootstrapKey() != "" || again.said.Len() > 0 {
		t.Error("the second start shows a key")
	}
	if resp, _ := again.do("GET", "/v1/tenant", key, ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the key after a restart: %d", resp.StatusCode)
	}
}

func TestASecondServerOnTheSameDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, settings(dir), givenKey)
	_, err := app.New(t.Context(), settings(dir), config.Secrets{}, app.Options{Log: slog.New(slog.DiscardHandler), Announce: io.Discard, Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "used by another process") {
		t.Errorf("got %v", err)
	}
}

func TestTheDescriptionOfTheAPIIsWhole(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	resp, b := i.do("GET", "/openapi.json", "", "")
	var spec struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &spec); err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Fatal(resp.StatusCode, err, spec.OpenAPI)
	}
	for _, want := range []string{"post /v1/events", "get /v1/events", "get /v1/events/{source}/{id}", "put /v1/metrics/{slug}", "get /v1/metrics/{slug}/query", "post /v1/metrics",
		"get /v1/live", "post /v1/live/tickets", "put /v1/rules/{slug}", "get /v1/incidents", "post /v1/incidents/{id}/ack", "post /v1/incidents/{id}/comments", "put /v1/channels/{slug}",
		"post /v1/channels/{slug}/test", "put /v1/sources/{slug}", "post /v1/hooks/{token}", "get /v1/tenant", "get /v1/overview", "get /healthz", "get /readyz", "get /metrics"} {
		method, path, _ := strings.Cut(want, " ")
		if _, ok := spec.Paths[path][method]; !ok {
			t.Errorf("%s is not described", want)
		}
	}
	if resp, b := i.do("GET", "/docs", "", ""); resp.StatusCode != http.StatusOK || !bytes.Contains(b, []byte("/v1/events")) {
		t.Errorf("/docs: %d", resp.StatusCode)
	}
}

func TestUnknownPathsAndMethodsOfTheAPIAreProblems(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	for _, c := range []struct {
		method, path, key string
		status            int
	}{
		{"GET", "/v1/nothing", givenKey, 404}, {"PATCH", "/v1/events", givenKey, 405}, {"GET", "/v1/events", "", 401}, {"GET", "/v1/events", "ps_x_y", 401},
		{"GET", "/v1/metrics/nothing", givenKey, 404}, {"GET", "/v1/events?limit=0", givenKey, 422}, {"GET", "/v1/events?cursor=x", givenKey, 422},
		{"PUT", "/v1/rules/r", givenKey, 400}, {"GET", "/v1/live", givenKey, 426},
	} {
		resp, b := i.do(c.method, c.path, c.key, "")
		var p struct {
			Type, Title string
			Status      int
			RequestID   string `json:"request_id"`
		}
		err := json.Unmarshal(b, &p)
		if resp.StatusCode != c.status || err != nil || p.Status != c.status || p.Title == "" || p.RequestID == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s %s", c.method, c.path, resp.StatusCode, resp.Header.Get("Content-Type"), b)
		}
		if c.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s: no WWW-Authenticate", c.method, c.path)
		}
	}
}

func TestSettingsThatCannotWorkAreRefusedWithWhatToDo(t *testing.T) {
	for name, change := range map[string]func(*config.Serve){
		"--listen":          func(s *config.Serve) { s.Listen = "8080" },
		"--egress-allow":    func(s *config.Serve) { s.EgressAllow = []string{"10.0.0.0/99"} },
		"--trusted-proxies": func(s *config.Serve) { s.TrustedProxies = []string{"proxy.example.com"} },
		"--rate-limit":      func(s *config.Serve) { s.RateLimit = -1 },
		"--public-url":      func(s *config.Serve) { s.PublicURL = "example.com" },
		"--bus":             func(s *config.Serve) { s.Bus = "nats://user:secret@host" },
		"--store":           func(s *config.Serve) { s.Store = "postgres://user:secret@host/db" },
		"--redis":           func(s *config.Serve) { s.Redis = "redis://user:secret@" },
		"--roles":           func(s *config.Serve) { s.Roles = []string{"ingest"} },
	} {
		cfg := settings("x")
		change(&cfg)
		err := cfg.Check()
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := settings("x")
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
