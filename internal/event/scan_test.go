package event_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
)

func whole(b []byte) error {
	var s event.Scanner
	end, err := s.Value(b, 0)
	if err == nil && event.Space(b, end) != len(b) {
		return &event.SyntaxError{Offset: end, Reason: "text behind the end"}
	}
	return err
}

func TestScannerTakesWhatRFC8259Allows(t *testing.T) {
	for _, s := range []string{
		`null`, `true`, `false`, `0`, `-0`, `1`, `-1.5e+10`, `1E400`, `""`, `"\u0000\ud800\n"`, `[]`, `{}`, ` [ 1 , 2 ] `, `{"a":{"b":[{}]}}`,
		`{"a":1,"a":2}`, `[[[[[[]]]]]]`, "\"\u2028\U0001F600\"", `9007199254740993`,
	} {
		if err := whole([]byte(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestScannerRefusesWhatIsNotJSON(t *testing.T) {
	for _, s := range []string{
		``, ` `, `nul`, `True`, `NaN`, `Infinity`, `01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `0x1`, `"`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"",
		"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", `[`, `]`, `[1,]`, `[,1]`, `[1 2]`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, `{"a":1 "b":2}`, `[}`, `{]`,
		`1 2`, `[] []`, "\ufeff1", `/**/1`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000),
	} {
		if err := whole([]byte(s)); err == nil {
			t.Errorf("%.40q was taken", s)
		}
	}
}

func TestScannerCountsTheDepthWithoutRecursion(t *testing.T) {
	var s event.Scanner
	for _, n := range []int{0, 1, 33, 1_000_000} {
		text := strings.Repeat("[", n) + "1" + strings.Repeat("]", n)
		if _, err := s.Value([]byte(text), 0); err != nil || s.Depth != n {
			t.Errorf("depth %d: got %d, %v", n, s.Depth, err)
		}
	}
}

func TestScannerAgreesWithTheJSONTestSuite(t *testing.T) {
	dir := shared(t, "json/parsing")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = whole(b)
		switch f.Name()[:2] {
		case "y_":
			if err != nil {
				t.Errorf("%s must be taken: %v", f.Name(), err)
			}
		case "n_":
			if err == nil {
				t.Errorf("%s must be refused", f.Name())
			}
		}
	}
}

// shared is a folder of the test data made by others, which lies beside the checkout.
func shared(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("PULSESTREAM_SHARED")
	if root == "" {
		root = "../../../shared"
	}
	dir := filepath.Join(root, "data", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no test data in %s: set PULSESTREAM_SHARED to where it is", dir)
	}
	return dir
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":"\u00e9\ud83d\ude00"}],"c":-1.5e-7}`, `[[],{}]`, "\"\xff\"", `1e400`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ours := whole(b) == nil
		// encoding/json takes strings that are not UTF-8; we don't.
		theirs := json.Valid(b) && utf8.Valid(b)
		if ours != theirs && strings.Count(string(b), "[")+strings.Count(string(b), "{") < 5000 {
			t.Fatalf("%q: ours %v, encoding/json %v", b, ours, theirs)
		}
	})
}

func FuzzQuotingIsTheInverseOfUnquoting(f *testing.F) {
	f.Add("a\"\\\n\x00é😀\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		quoted := event.AppendQuoted(nil, s)
		if back, ok := event.Unquote(quoted); !ok || back != s {
			t.Fatalf("%q became %s and then %q", s, quoted, back)
		}
		var theirs string
		if err := json.Unmarshal(quoted, &theirs); err != nil || theirs != s {
			t.Fatalf("encoding/json reads %s as %q, %v", quoted, theirs, err)
		}
	})
}
