package app_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/config"
)

// masterKey is one that an operator gives.
const masterKey = "5fQ2m1rXc0T8bVvYw7uZk3N9pL4sD6gHjKaEoRiUyTQ=" // gitleaks:allow

// said collects log lines.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.buf.Bytes())
}

func startWith(t *testing.T, cfg config.Serve, secrets config.Secrets, log io.Writer) *instance {
	t.Helper()
	i := &instance{t: t}
	cfg.EgressAllow, secrets.BootstrapAPIKey = []string{"127.0.0.0/8"}, givenKey
	a, err := app.New(t.Context(), cfg, secrets, app.Options{Version: "test", Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Announce: &i.said, Now: time.Now})
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

// planted are secrets that must be found nowhere, by what they are.
func planted() map[string]string {
	return map[string]string{
		"a source's secret":   "github-MARKER-7c1e9a5b3d",
		"a webhook's secret":  base64.StdEncoding.EncodeToString([]byte("webhook-MARKER-of-thirty-2-bytes")),
		"a mail password":     "mail-MARKER-2f4a6c8e0b",
		"a provider's secret": "provider-MARKER-91b3d5f7",
		"the master key":      masterKey,
	}
}

// good is a request that is answered with success.
func (i *instance) good(method, path, body string) []byte {
	i.t.Helper()
	resp, b := i.do(method, path, givenKey, body)
	if resp.StatusCode >= 300 {
		i.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	return b
}

// plant configures everything that has secrets, and returns the path of the source's hook.
func (i *instance) plant() string {
	i.t.Helper()
	p := planted()
	var source struct{ URL string }
	b := i.good("PUT", "/v1/sources/code", `{"vendor":"github","secret":"`+p["a source's secret"]+`"}`)
	if err := json.Unmarshal(b, &source); err != nil {
		i.t.Fatal(err)
	}
	i.good("PUT", "/v1/channels/hook", `{"type":"webhook","config":{"url":"http://127.0.0.1:9/x","secret":"whsec_`+p["a webhook's secret"]+`"}}`)
	i.good("PUT", "/v1/channels/mail", `{"type":"email","config":{"to":["a@example.com"],"from":"b@example.com","host":"127.0.0.1","port":9,"username":"u","password":"`+p["a mail password"]+`"}}`)
	i.good("PUT", "/v1/identity-providers/idp", `{"name":"idp","type":"oidc","default_role":"viewer","issuer":"`+issuer(i.t, "")+`","client_id":"c","client_secret":"`+p["a provider's secret"]+`"}`)
	_, path, _ := strings.Cut(source.URL, "/v1/")
	return "/v1/" + path
}

// hook sends a webhook as the vendor would, and gives the status.
func (i *instance) hook(path, secret string) int {
	i.t.Helper()
	body := `{"action":"opened","number":1}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, "http://"+i.Addr()+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "issues", "X-GitHub-Delivery": "d-1", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil))} {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// everyGet asks every GET route of the API for what there is, and gives all answers.
func (i *instance) everyGet() []byte {
	i.t.Helper()
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(i.good("GET", "/openapi.json", ""), &doc); err != nil {
		i.t.Fatal(err)
	}
	var all bytes.Buffer
	routes, good := 0, 0
	for path, methods := range doc.Paths {
		if methods["get"] == nil || path == "/v1/live" {
			continue
		}
		routes++
		for _, slug := range []string{"code", "hook", "mail", "idp", "default"} {
			for _, name := range []string{"{slug}", "{id}", "{tenant}", "{provider}"} {
				path = strings.ReplaceAll(path, name, slug)
			}
			resp, b := i.do("GET", path, givenKey, "")
			if resp.StatusCode < 300 {
				good++
			}
			all.Write(b)
			path = strings.ReplaceAll(path, "/"+slug, "/{slug}")
		}
	}
	if routes < 20 || good < 20 || !bytes.Contains(all.Bytes(), []byte(`"vendor":"github"`)) || !bytes.Contains(all.Bytes(), []byte(`"host":"127.0.0.1"`)) {
		i.t.Fatalf("%d routes were asked, %d answers are good: this proves nothing", routes, good)
	}
	return all.Bytes()
}

// clean checks that no planted secret is in some text.
func clean(t *testing.T, where string, b []byte) {
	t.Helper()
	for what, secret := range planted() {
		raw, err := base64.StdEncoding.DecodeString(secret)
		if bytes.Contains(b, []byte(secret)) || err == nil && bytes.Contains(b, raw) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString([]byte(secret))[:16])) {
			t.Errorf("%s is in %s", what, where)
		}
	}
}

// cleanDir is clean for all files of a directory.
func cleanDir(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		clean(t, path, b)
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// encrypted waits until all secrets are under the current data key.
func (i *instance) encrypted() (keys int) {
	i.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var s struct {
			Encrypted, Rotating bool
			Plain               int
			DataKeys            []any `json:"data_keys"`
		}
		b := i.good("GET", "/v1/admin/secrets", "")
		if err := json.Unmarshal(b, &s); err != nil {
			i.t.Fatal(err)
		}
		if s.Encrypted && !s.Rotating && s.Plain == 0 {
			return len(s.DataKeys)
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("not done: %s", b)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestSecretsAreNowhereButWhereTheyAreUsed(t *testing.T) {
	dir, archive, log := t.TempDir(), t.TempDir(), &said{}
	i := startWith(t, settings(dir), config.Secrets{SecretsKey: masterKey}, log)
	hook := i.plant()
	secret := planted()["a source's secret"]
	if status := i.hook(hook, secret); status >= 300 {
		t.Fatalf("a webhook with a good signature: %d", status)
	}
	if status := i.hook(hook, "wrong"); status < 400 {
		t.Fatalf("a webhook with a bad signature: %d", status)
	}
	for _, c := range []string{"hook", "mail"} {
		_, b := i.do("POST", "/v1/channels/"+c+"/test", givenKey, "")
		clean(t, "the answer of a test of a channel", b)
	}
	_, b := i.do("PUT", "/v1/channels/hook", givenKey, `{"type":"webhook","config":{"url":"not a URL","secret":"whsec_`+planted()["a webhook's secret"]+`","what":1}}`)
	clean(t, "a refusal", b)
	i.good("POST", "/v1/reports", `{"kind":"events","format":"csv","from":"2026-01-01T00:00:00Z","to":"2027-12-31T00:00:00Z"}`)
	clean(t, "an answer of the API", i.everyGet())
	clean(t, "/metrics", i.good("GET", "/metrics", ""))
	cleanDir(t, dir) // as it is while the server runs, write-ahead logs included
	if n := i.encrypted(); n != 1 {
		t.Errorf("%d data keys", n)
	}
	i.good("POST", "/v1/admin/secrets/rotate", "")
	if n := i.encrypted(); n != 2 {
		t.Errorf("%d data keys after a rotation", n)
	}
	if status := i.hook(hook, secret); status >= 300 {
		t.Errorf("a webhook after a rotation: %d", status)
	}
	places := backup.Places{DataDir: dir, EventsPath: filepath.Join(dir, "events.duckdb"), CatalogPath: filepath.Join(dir, "catalog.sqlite"), LogDir: filepath.Join(dir, "log")}
	if _, err := backup.Make(t.Context(), backup.Settings{Places: places, To: archive, Wait: time.Second, Version: "test", Logger: slog.New(slog.DiscardHandler), Now: time.Now}, nil); err != nil {
		t.Fatal(err)
	}
	cleanDir(t, archive)
	i.stop()
	cleanDir(t, dir)
	clean(t, "the log", log.bytes())
	if len(log.bytes()) < 1000 {
		t.Errorf("the log has hardly anything in it, which proves nothing: %s", log.bytes())
	}
}

func TestAServerWithoutSettingsMakesItsMasterKeyAndDoesNotStartWithoutIt(t *testing.T) {
	dir := t.TempDir()
	i := startWith(t, settings(dir), config.Secrets{}, io.Discard)
	hook := i.plant()
	i.good("POST", "/v1/admin/secrets/rotate", "")
	i.encrypted()
	i.stop()
	cleanDir(t, dir)
	path := filepath.Join(dir, "secrets-key")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, cfg config.Serve, secrets config.Secrets, hint string) {
		t.Helper()
		a, err := app.New(t.Context(), cfg, secrets, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Announce: io.Discard, Now: time.Now})
		if err == nil {
			_ = a.Stop(t.Context())
			t.Fatalf("%s: it starts", what)
		}
		if text := err.Error(); !strings.Contains(text, hint) || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", what, text)
		}
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	refused("without the key", settings(dir), config.Secrets{}, path)
	refused("with another", settings(dir), config.Secrets{SecretsKey: masterKey}, "as it was")
	refused("with a key that is none", settings(dir), config.Secrets{SecretsKey: "password"}, config.SecretsKeyVariable)
	file := settings(dir)
	file.SecretsKey = filepath.Join(dir, "there-is-none")
	refused("with a file that is not there", file, config.Secrets{}, "--secrets-key")
	file.SecretsKey, file.SecretsKMS = "", "awskms://"
	refused("with a KMS without a key", file, config.Secrets{}, "--secrets-kms")
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made in the place of the one that is needed")
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	given := startWith(t, settings(dir), config.Secrets{SecretsKey: masterKey}, io.Discard) // takes over
	if status := given.hook(hook, planted()["a source's secret"]); status >= 300 {
		t.Errorf("a webhook after another key has taken over: %d", status)
	}
	given.stop()
	refused("with its own key after another has taken over", settings(dir), config.Secrets{}, "as it was")
}
