package api_test

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// realProvider starts a real identity provider with one client, and returns its issuer. It is a program of a module of its own: nothing of it is
// linked into the server.
func realProvider(t *testing.T, redirect string) (issuer string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real identity provider is built and started in the long run only")
	}
	binary := filepath.Join(t.TempDir(), "provider")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "signin", "oidc", "testdata", "provider")
	build.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the identity provider cannot be built here (%v): %s", err, out)
	}
	run := exec.CommandContext(t.Context(), binary, "pulse", "a-secret-of-the-client", redirect)
	in, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		_ = run.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

var requestIDField = regexp.MustCompile(`name="id" value="([^"]+)"`)

func TestAMemberSignsInAtARealProvider(t *testing.T) {
	i := start(t, withProviders())
	issuer := realProvider(t, i.base+way+"/callback")
	i.provide(givenKey, "corp", issuer, object{"client_secret": "a-secret-of-the-client", "require_verified_email": true})
	enter := func(b *browser, user string) string {
		t.Helper()
		at := b.toProvider(way)
		for range 10 { // as a browser follows redirects, until it is back
			if strings.HasPrefix(at, i.base) {
				a := b.as(nil, "GET", at, nil, nil)
				return a.Header.Get("Location")
			}
			a, text := b.page("GET", at, nil)
			if id := requestIDField.FindStringSubmatch(text); a.StatusCode == http.StatusOK && id != nil {
				a, text = b.page("POST", issuer+"/login/username", url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}})
			}
			to, err := url.Parse(a.Header.Get("Location"))
			if err != nil || a.StatusCode/100 != 3 {
				t.Fatalf("%s: %d %s", at, a.StatusCode, text)
			}
			from, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			at = from.ResolveReference(to).String()
		}
		t.Fatal("the provider sends people round in circles")
		return ""
	}
	ada, bob := i.browser(), i.browser()
	if to := enter(ada, "test-user@127.0.0.1"); to != "/" {
		t.Fatalf("ends at %s", to)
	}
	if to := enter(bob, "test-user2"); to != "/" {
		t.Fatalf("ends at %s", to)
	}
	a, b := ada.session(), bob.session()
	if a.text("role") != "viewer" || a.text("method") != "oidc" || a.text("subject") == b.text("subject") {
		t.Errorf("%v, %v", a, b)
	}
	var me object
	ada.do("GET", "/v1/members/me", nil, &me)
	if me.text("email") != "test-user@zitadel.ch" || me["password"] != false {
		t.Errorf("%v", me)
	}
	again := i.browser()
	enter(again, "test-user@127.0.0.1")
	if again.session().text("subject") != a.text("subject") {
		t.Error("the same person is another member the second time")
	}
}
