package pulsestream_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The answers to ASVS 5.0, levels 1 and 2, are docs/asvs.json, for programs, and docs/asvs.md, for people. ADR 0031 says how they are held.
const (
	answersFile      = "docs/asvs.json"
	answersPage      = "docs/asvs.md"
	requirementsFile = "../shared/data/asvs/asvs-5.0.0.flat.json"
	requirements     = 253 // of levels 1 and 2
	// leastShare is how much of what applies has to be held by a test.
	leastShare = 0.80
)

// answer is how one requirement is answered.
type answer struct {
	ID     string   `json:"id"`
	Status string   `json:"status"` // met, not-met, not-applicable
	By     []string `json:"by,omitempty"`
	Note   string   `json:"note,omitempty"`
}

// byTest says whether a test holds it. A linter's rule holds it too, but is not counted.
func (a answer) byTest() bool {
	return a.Status == "met" && slices.ContainsFunc(a.By, func(by string) bool { return !strings.HasPrefix(by, "lint: ") })
}

func answers(t *testing.T) []answer {
	t.Helper()
	b, err := os.ReadFile(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []answer
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// numbers of an id, to sort by.
func numbers(id string) (n [3]int) {
	for i, part := range strings.SplitN(strings.TrimPrefix(id, "V"), ".", 3) {
		n[i], _ = strconv.Atoi(part)
	}
	return n
}

func byPlace(x, y string) int {
	a, b := numbers(x), numbers(y)
	return slices.Compare(a[:], b[:])
}

func TestEveryRequirementIsAnsweredOnce(t *testing.T) {
	all := answers(t)
	if len(all) != requirements {
		t.Errorf("%d answers, want %d", len(all), requirements)
	}
	if !slices.IsSortedFunc(all, func(x, y answer) int { return cmp.Or(byPlace(x.ID, y.ID), 1) }) {
		t.Errorf("%s is not in the order of the ids, each once", answersFile)
	}
	for _, a := range all {
		switch {
		case a.Status == "met" && len(a.By) > 0:
		case (a.Status == "not-met" || a.Status == "not-applicable") && a.Note != "" && len(a.By) == 0:
		default:
			t.Errorf("%s: met needs what it is held by, not-met and not-applicable need a reason: %+v", a.ID, a)
		}
	}
	b, err := os.ReadFile(requirementsFile)
	if err != nil {
		t.Skipf("the requirements are not at %s: that each of them is answered was not compared", requirementsFile)
	}
	var published struct {
		Requirements []struct {
			ID    string `json:"req_id"`
			Level string `json:"L"`
		}
	}
	if err := json.Unmarshal(b, &published); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range published.Requirements {
		if r.Level == "1" || r.Level == "2" {
			want = append(want, r.ID)
		}
	}
	for _, a := range all {
		got = append(got, a.ID)
	}
	slices.SortFunc(want, byPlace)
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("%s is not answered", id)
		}
	}
	for _, id := range got {
		if !slices.Contains(want, id) {
			t.Errorf("%s is no requirement of levels 1 and 2", id)
		}
	}
}

// TestWhatHoldsARequirementIsThere: a test that is renamed or removed takes its answers with it.
func TestWhatHoldsARequirementIsThere(t *testing.T) {
	known := tests(t)
	lint := linters(t)
	for _, a := range answers(t) {
		for _, by := range a.By {
			rule, isLint := strings.CutPrefix(by, "lint: ")
			if isLint && !lint[rule] || !isLint && !known[by] {
				t.Errorf("%s is held by %q, which there is not", a.ID, by)
			}
		}
	}
}

// tests are the names of all tests: of Go as they are, of the page with web: before them.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	inGo, inWeb := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`), regexp.MustCompile(`(?m)^\s*test\((?:"((?:[^"\\]|\\.)+)"|'((?:[^'\\]|\\.)+)')`)
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && path != "." && (base == "node_modules" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		isGo, isWeb := strings.HasSuffix(path, "_test.go"), strings.HasPrefix(path, "web/") && (strings.HasSuffix(path, ".spec.ts") || strings.HasSuffix(path, ".test.ts"))
		if !isGo && !isWeb {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if isGo {
			for _, m := range inGo.FindAllSubmatch(text, -1) {
				found[string(m[1])] = true
			}
			return nil
		}
		for _, m := range inWeb.FindAllSubmatch(text, -1) {
			found["web: "+string(m[1])+string(m[2])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// linters are those that make lint runs.
func linters(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	config, scan := read(t, ".golangci.yml"), read(t, "scripts/scan.sh")
	enabled, _, _ := strings.Cut(config, "\n  settings:")
	for _, m := range regexp.MustCompile(`(?m)^    - (\w+)$`).FindAllStringSubmatch(enabled, -1) {
		found[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`tool (\w+) "`).FindAllStringSubmatch(scan, -1) {
		found[m[1]] = true
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tally counts answers.
type tally struct{ met, byTest, notMet, notApplicable int }

func (c tally) applies() int   { return c.met + c.notMet }
func (c tally) share() float64 { return float64(c.byTest) / float64(c.applies()) }

func counted(all []answer) (c tally) {
	for _, a := range all {
		switch a.Status {
		case "met":
			c.met++
		case "not-met":
			c.notMet++
		default:
			c.notApplicable++
		}
		if a.byTest() {
			c.byTest++
		}
	}
	return c
}

func TestMostRequirementsAreHeldByATest(t *testing.T) {
	c := counted(answers(t))
	t.Logf("%d of %d requirements that apply are held by a test (%.1f %%); of all %d that is %.1f %%", c.byTest, c.applies(), 100*c.share(), requirements, 100*float64(c.byTest)/requirements)
	if c.share() < leastShare {
		t.Errorf("%.1f %% of what applies is held by a test, want %.0f", 100*c.share(), 100*leastShare)
	}
}

// chapters are ours, in a word or two.
func chapters() []string {
	return []string{"", "Encoding, injection", "Input and business rules", "The page in the browser", "HTTP, WebSockets", "Files", "Signing in", "Sessions", "Who may do what", "Tokens", "OAuth 2 and OpenID Connect",
		"Cryptography", "TLS", "Configuration, secrets", "Data", "Code, dependencies", "Logs, errors", "WebRTC"}
}

// page is docs/asvs.md.
func page(all []answer) string {
	var b strings.Builder
	c := counted(all)
	fmt.Fprintf(&b, `# ASVS 5.0, levels 1 and 2

The answers to the requirements of the [OWASP Application Security Verification Standard](https://github.com/OWASP/ASVS) 5.0.0, each with the tests that hold it.
This page is printed from [asvs.json](asvs.json), and a test compares the two (`+"`PULSESTREAM_WRITE_DOCS=1 go test -run TestThePageOfAnswersIsPrinted .`"+` writes it anew).
The standard says what each requirement is; this page says in our own words how it is answered.

| | |
|---|--:|
| requirements of levels 1 and 2 | %d |
| not applicable, with a reason | %d |
| apply | %d |
| of these met | %d |
| of these held by at least one automated test | %d (%.1f %% of those that apply) |
| not met, with what is missing | %d |

`+"`lint: …`"+` is a linter or scanner of `+"`make lint`"+`; it holds too, but is not counted as a test. `+"`web: …`"+` is a test of the page.
`, requirements, c.notApplicable, c.applies(), c.met, c.byTest, 100*c.share(), c.notMet)
	names, chapter := chapters(), 0
	for _, a := range all {
		if n := numbers(a.ID)[0]; n != chapter {
			chapter = n
			fmt.Fprintf(&b, "\n## V%d: %s\n\n| id | answer | held by | |\n|---|---|---|---|\n", n, names[n])
		}
		by := make([]string, 0, len(a.By))
		for _, x := range a.By {
			by = append(by, "`"+x+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.ID, strings.ReplaceAll(a.Status, "-", " "), strings.Join(by, ", "), a.Note)
	}
	return b.String()
}

func TestThePageOfAnswersIsPrinted(t *testing.T) {
	want := page(answers(t))
	if os.Getenv("PULSESTREAM_WRITE_DOCS") != "" {
		if err := os.WriteFile(answersPage, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, answersPage) != want {
		t.Errorf("%s is not what %s says: PULSESTREAM_WRITE_DOCS=1 go test -run %s .", answersPage, answersFile, t.Name())
	}
}

// TestTestsThatDocumentsNameExist: what a document says is tested.
func TestTestsThatDocumentsNameExist(t *testing.T) {
	known := tests(t)
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(read(t, path), -1) {
			if !known[m[1]] {
				t.Errorf("%s names %s, which there is not", path, m[1])
			}
		}
	}
}

// TestEveryRiskOfTheAPITopTenHasItsTests reads the table of docs/security.md.
func TestEveryRiskOfTheAPITopTenHasItsTests(t *testing.T) {
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (API\\d+):2023 \\|.*`Test").FindAllStringSubmatch(read(t, "docs/security.md"), -1) {
		rows[m[1]] = true
	}
	for i := 1; i <= 10; i++ {
		if id := fmt.Sprintf("API%d", i); !rows[id] {
			t.Errorf("docs/security.md has no row with a test for %s; it has %v", id, slices.Sorted(maps.Keys(rows)))
		}
	}
}
