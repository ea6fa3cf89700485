// Package deploy_test checks what is in this folder against what the program is. How Helm and Kubernetes see it is checked by make deploy-check.
package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/pulsestream/pulsestream/internal/config"
)

const chart = "helm/pulsestream"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// service is what the tests look at of compose.yaml.
type service struct {
	Image           string            `yaml:"image"`
	Environment     map[string]string `yaml:"environment"`
	StopGracePeriod string            `yaml:"stop_grace_period"`
	Volumes         []string          `yaml:"volumes"`
	DependsOn       any               `yaml:"depends_on"`
}

func services(t *testing.T) map[string]service {
	t.Helper()
	var c struct {
		Services map[string]service `yaml:"services"`
	}
	parse(t, "compose.yaml", &c)
	return c.Services
}

// match is the first group of a pattern in a file.
func match(t *testing.T, path, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
	if m == nil {
		t.Fatalf("%s has no %s", path, pattern)
	}
	return m[1]
}

func TestEveryVariableIsASetting(t *testing.T) {
	var c struct{ config.Serve }
	parser, err := kong.New(&c, kong.DefaultEnvars("PULSESTREAM"))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"PULSESTREAM_BOOTSTRAP_API_KEY", config.SecretsKeyVariable}
	for _, f := range parser.Model.Flags {
		known = append(known, f.Envs...)
	}
	if len(known) < 10 {
		t.Fatalf("the settings are %v", known)
	}
	compose := []string{"PULSESTREAM_VERSION"} // of the image
	variable := regexp.MustCompile(`PULSESTREAM_[A-Z_]+`)
	files := 0
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		files++
		for _, v := range variable.FindAllString(read(t, path), -1) {
			if !slices.Contains(known, v) && !slices.Contains(compose, v) {
				t.Errorf("%s: there is no setting %s", path, v)
			}
		}
		return nil
	})
	if err != nil || files < 12 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestComposeHasTwoProcessesOfEachRoleAndThreeServersOfTheLog(t *testing.T) {
	roles, names, logs := map[string]int{}, map[string]bool{}, 0
	all := services(t)
	for name, s := range all {
		if r := s.Environment["PULSESTREAM_ROLES"]; r != "" {
			roles[r]++
			cfg := config.Serve{DataDir: "d", Listen: "127.0.0.1:0", Roles: strings.Split(r, ","), Store: plain(s.Environment["PULSESTREAM_STORE"]), Bus: plain(s.Environment["PULSESTREAM_BUS"]),
				Redis: plain(s.Environment["PULSESTREAM_REDIS"]), Partitions: 4}
			if err := cfg.Check(); err != nil || !cfg.Fleet() {
				t.Errorf("%s: %v", name, err)
			}
			if d, err := time.ParseDuration(s.StopGracePeriod); err != nil || d < config.ShutdownTimeout+5*time.Second {
				t.Errorf("%s is killed after %s, its own bound is %v", name, s.StopGracePeriod, config.ShutdownTimeout)
			}
		}
		if n := s.Environment["NATS_NAME"]; n != "" {
			logs++
			names[n] = true
			if n != name || !slices.ContainsFunc(s.Volumes, func(v string) bool { return v == n+":/data" }) {
				t.Errorf("%s is called %s and keeps its data in %v", name, n, s.Volumes)
			}
		}
		for _, v := range s.Volumes {
			if file, _, _ := strings.Cut(v, ":"); strings.HasPrefix(file, "./") {
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if roles["ingest"] != 2 || roles["worker"] != 2 || roles["api"] != 2 || len(roles) != 3 || logs != 3 || len(names) != 3 {
		t.Errorf("roles %v, servers of the log %v", roles, names)
	}
	for _, name := range []string{"ingest-1", "ingest-2", "api-1", "api-2"} {
		if !strings.Contains(read(t, "haproxy.cfg"), " "+name+":8080 ") && !strings.Contains(read(t, "haproxy.cfg"), " "+name+":8080\n") {
			t.Errorf("the proxy does not know %s", name)
		}
		if all[name].Image == "" {
			t.Errorf("there is no %s", name)
		}
	}
}

// plain is a value of compose.yaml with letters where its variables are.
func plain(s string) string {
	return regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(s, "x")
}

func TestImagesAreOfOneVersionEverywhereAndOfTheOneThatIsTestedWith(t *testing.T) {
	image := func(part string) string {
		return match(t, chart+"/values.yaml", `(?m)^`+part+`:\n(?:  .*\n)*?  image: (\S+)`)
	}
	all := services(t)
	for part, name := range map[string]string{"postgres": "postgres", "nats": "nats-1", "redis": "redis"} {
		if got := all[name].Image; !strings.Contains(got, image(part)) {
			t.Errorf("compose.yaml has %s, the chart %s", got, image(part))
		}
	}
	if want := match(t, "../go.mod", `nats-server/v2 v(\S+)`); image("nats") != "nats:"+want+"-alpine" {
		t.Errorf("the chart has %s, the tests run with %s", image("nats"), want)
	}
	if want := match(t, "../go.mod", `(?m)^go (\d+\.\d+)`); match(t, "Dockerfile", `FROM golang:(\S+?)-`) != want {
		t.Errorf("the image is built with another Go than %s", want)
	}
	if built, run := match(t, "Dockerfile", `FROM golang:\S+?-(\S+) AS`), match(t, "Dockerfile", `(?m)^FROM debian:(\S+)-slim$`); built != run {
		t.Errorf("built on %s, run on %s: the C library may be older there", built, run)
	}
	if timescale := regexp.MustCompile(`timescale/timescaledb:[^ }\n]*[\w]`); timescale.FindString(read(t, "compose.yaml")) != timescale.FindString(read(t, chart+"/values.yaml")) {
		t.Error("two versions of TimescaleDB")
	}
}

func TestThePodsHaveTimeToStop(t *testing.T) {
	text := read(t, chart+"/templates/roles.yaml")
	before, err := time.ParseDuration(match(t, chart+"/templates/roles.yaml", `command: \[sleep, "(\d+)"\]`) + "s")
	if err != nil {
		t.Fatal(err)
	}
	grace, err := time.ParseDuration(match(t, chart+"/templates/roles.yaml", `terminationGracePeriodSeconds: (\d+)`) + "s")
	if err != nil || grace < before+config.ShutdownTimeout+5*time.Second {
		t.Errorf("%v to stop: %v go by before it is told, its own bound is %v", grace, before, config.ShutdownTimeout)
	}
	if !strings.Contains(text, "path: /healthz") || !strings.Contains(text, "path: /readyz") {
		t.Error("no probes")
	}
}

func TestAlertsAreAboutMetricsThatThereAre(t *testing.T) {
	var sources strings.Builder
	files, err := filepath.Glob("../internal/app/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		sources.WriteString(read(t, f))
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert string `yaml:"alert"`
				Expr  string `yaml:"expr"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	parse(t, "prometheus-rules.yaml", &rules)
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			for _, metric := range regexp.MustCompile(`pulsestream_\w+`).FindAllString(r.Expr, -1) {
				n++
				if !strings.Contains(sources.String(), `"`+strings.TrimSuffix(metric, "_bucket")+`"`) {
					t.Errorf("%s: there is no metric %s", r.Alert, metric)
				}
			}
		}
	}
	if n < 7 {
		t.Errorf("%d metrics", n)
	}
}
