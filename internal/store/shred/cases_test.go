package shred

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// repeated gives each text often enough for a shape of its own, the texts in turn.
func repeated(texts ...string) [][]byte {
	var docs [][]byte
	for range minRows + maxSlots/slotsARow + 1 {
		for _, s := range texts {
			docs = append(docs, []byte(s))
		}
	}
	return docs
}

func TestTextsReadBackByteForByte(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 200) + "1" + strings.Repeat("]}", 200)
	wide := "[" + strings.Repeat("1,", maxSlots) + "1]"
	fits := "[" + strings.Repeat("1,", maxSlots-1) + "1]"
	for name, docs := range map[string][][]byte{
		"none at all":                    {},
		"no text, an empty one, a space": {nil, {}, []byte(" "), nil, {}},
		"only nil":                       make([][]byte, 20),
		"scalars":                        repeated(`1`, `"a"`, `null`, `true`, ` -1.5e+7 `, `""`),
		"empty containers":               repeated(`{}`, `[]`, "{ }", "[\n]", `{"a":{}}`),
		"white space":                    repeated("{ \"a\" :\t1 ,\r\n \"b\":[ 1 , 2 ] }\n", `{"a":1,"b":[1,2]}`),
		"escapes":                        repeated(`{"a\"b":"c\"d","e\\":"f\\","\u0067":"\ud83d\ude00","":"\\\""}`),
		"kinds in turn":                  repeated(`{"a":1}`, `{"a":"1"}`, `{"a":null}`, `{"a":true}`, `{"a":"null"}`, `{"a":""}`),
		"an object or a value":           repeated(`{"a":{"b":1}}`, `{"a":[1]}`, `{"a":1}`),
		"duplicate names":                repeated(`{"a":1,"a":"2","b":{"a":3},"b":null}`),
		"numbers as they were":           repeated(`{"n":1.0}`, `{"n":1}`, `{"n":1e2}`, `{"n":-0}`, `{"n":0.10}`, `{"n":123456789012345678901234567890}`, `{"n":-0.5}`),
		"no JSON":                        repeated(`{"a":`, `"`, `{"a"1}`, `}{`, `"a""b"`, `1 2`, `,`, `{"a":"b`, `tru`, "\x00", "{\"a\":\x00}", "{\"a\x00\":1}", "{\"a\":\"\x00\"}", "\xff\xfe", `\"`, `"\`, `a"b":c`),
		"bytes that are no UTF-8":        repeated("{\"a\":\"\xff\"}", "{\"\xc3\":1}"),
		"deep":                           repeated(deep),
		"as many values as may be":       repeated(fits),
		"more values":                    repeated(wide),
		"long":                           repeated(`{"a":"`+strings.Repeat("x", maxText)+`"}`, `{"a":"x"}`),
		"rare shapes":                    {[]byte(`{"a":1}`), []byte(`{"b":1}`), []byte(`[1,2]`), nil, []byte(`{"b":2}`)},
		"one shape but for the end":      append(repeated(`{"a":1}`), []byte(`{"a":1} `), []byte(`{"a":1`), []byte(`{"a":1}}`), []byte(`{"a":`)),
	} {
		t.Run(name, func(t *testing.T) { check(t, docs) })
	}
}

func TestMoreShapesThanABlockKeeps(t *testing.T) {
	var docs [][]byte
	for round := range 12 {
		for shape := range candidates + 50 {
			if round < 3 || shape%3 == 0 {
				docs = append(docs, fmt.Appendf(nil, `{"name_%d":%d,"x":"%d"}`, shape, round, shape*round))
			}
		}
	}
	check(t, docs)
	checkPaths(t, docs, []string{"x"}, []string{"name_3"}, []string{"name_4"}, []string{"name_300"})
}

func TestAnEncoderAndAReaderAreReused(t *testing.T) {
	e := NewEncoder()
	blocks := [][][]byte{vendorLike(3000), repeated(`{"a":1}`, `{"b":"x"}`), {}, vendorLike(100), {nil}, repeated(`{"a":"1"}`), vendorLike(8192)}
	var r Reader
	var all column.Texts
	for round := range 2 {
		for i, docs := range blocks {
			src := e.Append(nil, docs)
			if err := r.Reset(src, len(docs)); err != nil {
				t.Fatal(err)
			}
			if err := r.Docs(&all, 0, r.Len()); err != nil {
				t.Fatal(err)
			}
			for k, want := range docs {
				if got := all.At(k); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
					t.Fatalf("round %d, block %d, row %d is %q, want %q", round, i, k, got, want)
				}
			}
		}
	}
}

func TestPathsGiveWhatTheTextsHave(t *testing.T) {
	for name, docs := range map[string][][]byte{
		"one shape":            repeated(`{"a":1,"b":{"c":"x"}}`, `{"a":2,"b":{"c":"y"}}`),
		"several shapes":       repeated(`{"a":1}`, `{"b":{"c":"x"}}`, `{"a":"1"}`, `[1]`, `7`, `{"b":{"c":null}}`),
		"shapes and others":    append(repeated(`{"a":1}`), []byte(`{"a":2,"b":{"c":false}}`), nil, []byte(`{"x":1}`), []byte{}),
		"duplicate names":      repeated(`{"a":1,"a":"2"}`, `{"b":{"c":1},"b":{"d":1}}`, `{"b":{"c":1,"c":2},"a":null}`, `{"b":1,"b":{"c":3}}`),
		"escaped names":        repeated(`{"\u0061":1,"b":{"\u0063":"\n"}}`, `{"a":1,"\u0061":2}`, `{"b\/":1,"b":{"c":"\""}}`),
		"objects and arrays":   repeated(`{"a":{"x":[1,"2"]},"b":{"c":[ 1 , {"d":"e"} ]}}`, `{"a":[],"b":[]}`, `{"a":{}}`),
		"white space":          repeated("{ \"b\" : {\n\"c\"\t:\r\"x\" } , \"a\" : 1 }"),
		"many distinct values": vendorLike(2000),
		"every kind":           repeated(`{"a":1}`, `{"a":"s"}`, `{"a":null}`, `{"a":true}`, `{"a":false}`, `{"a":{}}`, `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			checkPaths(t, docs, []string{"a"}, []string{"b"}, []string{"b", "c"}, []string{"b", "c", "d"}, []string{"status"}, []string{"amount"},
				[]string{"card", "brand"}, []string{"card"}, []string{"category"}, []string{"workflow_run", "conclusion"}, []string{"balance_transaction"}, []string{""})
		})
	}
}

// checkPaths compares what Path gives with what encoding/json finds.
func checkPaths(t testing.TB, docs [][]byte, paths ...[]string) {
	t.Helper()
	var r Reader
	if err := r.Reset(NewEncoder().Append(nil, docs), len(docs)); err != nil {
		t.Fatal(err)
	}
	var v Values
	var numbers []float64
	n := len(docs)
	for _, rows := range [][2]int{{n / 3, n / 2}, {0, n}, {max(0, n-1), n}, {n, n}} { // a part of it decodes less, and then the rest
		for _, path := range paths {
			var err error
			if numbers, err = r.Numbers(numbers, rows[0], rows[1], path...); err != nil {
				t.Fatal(err)
			}
			if err := r.Path(&v, rows[0], rows[1], path...); err != nil {
				t.Fatal(err)
			}
			checkValues(t, docs[rows[0]:rows[1]], path, &v, numbers)
		}
	}
}

func checkValues(t testing.TB, docs [][]byte, path []string, v *Values, numbers []float64) {
	t.Helper()
	if v.Len() != len(docs) || len(numbers) != len(docs) {
		t.Fatalf("%d values and %d numbers of %d rows", v.Len(), len(numbers), len(docs))
	}
	for i, doc := range docs {
		kind, raw := expected(doc, path)
		if got := v.Kind(i); got != kind || !same(kind, v.Raw(i), raw) {
			t.Fatalf("%q of %s is %d %q, want %d %q", path, doc, got, v.Raw(i), kind, raw)
		}
		if want := floatOf(kind, raw); numbers[i] != want && !(math.IsNaN(want) && math.IsNaN(numbers[i])) {
			t.Fatalf("%q of %s is %v, want %v", path, doc, numbers[i], want)
		}
	}
	codes, coded := v.Codes()
	for i, c := range codes {
		if !coded || int(c) >= v.DictLen() || v.DictKind(c) != v.Kind(i) || !bytes.Equal(v.DictRaw(c), v.Raw(i)) {
			t.Fatalf("code %d of row %d is not its value", c, i)
		}
	}
}

// same compares raw bytes by what they mean.
func same(kind Kind, got, want []byte) bool {
	if kind != String {
		return bytes.Equal(got, want)
	}
	var a, b string
	return json.Unmarshal([]byte(`"`+string(got)+`"`), &a) == nil && json.Unmarshal(want, &b) == nil && a == b
}

func expected(doc []byte, path []string) (Kind, []byte) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return Missing, nil
	}
	raw := json.RawMessage(doc)
	for _, name := range path {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return Missing, nil
		}
		var ok bool
		if raw, ok = members[name]; !ok {
			return Missing, nil
		}
	}
	switch raw[0] {
	case '"':
		return String, raw
	case 'n':
		return Null, raw
	case 't', 'f':
		return Bool, raw
	case '{', '[':
		return Other, raw
	}
	return Number, raw
}

func TestNumbersAreThoseOfTheTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var docs [][]byte
	for i := range 2000 {
		docs = append(docs, fmt.Appendf(nil, `{"n":%d,"p":%.2f,"f":%v,"s":"%d","m":%s,"z":%s}`, r.Int64N(1<<60)-1<<59, r.Float64()*1e15, r.Float64(), i,
			pick(r, "1", "null", `"2"`, "3.5"), pick(r, "1e400", "-1e400", "1e-400", "0", "-0", "12345678901234567890")))
	}
	checkPaths(t, docs, []string{"n"}, []string{"p"}, []string{"f"}, []string{"s"}, []string{"m"}, []string{"z"})
}

func TestGroupingColumnsAreCoded(t *testing.T) {
	docs := append(vendorLike(8192), []byte(`{"status":"from a whole text"}`), nil)
	var r Reader
	if err := r.Reset(NewEncoder().Append(nil, docs), len(docs)); err != nil {
		t.Fatal(err)
	}
	var v Values
	for _, path := range [][]string{{"status"}, {"country"}, {"card", "brand"}, {"nowhere"}, {"livemode"}, {"ErrorCode"}} {
		if err := r.Path(&v, 0, r.Len(), path...); err != nil {
			t.Fatal(err)
		}
		if _, coded := v.Codes(); !coded {
			t.Errorf("%q is not coded", path)
		}
	}
}

// randomJSON writes a value whose names, values and white space come from small sets, so that shapes recur.
func randomJSON(r *rand.Rand, dst []byte, depth int) []byte {
	space := func() { dst = append(dst, pick(r, "", "", "", "", " ", "\n\t")...) }
	space()
	switch n := r.IntN(10); {
	case n < 3 && depth > 0:
		dst = append(dst, '{')
		for i := range r.IntN(4) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = fmt.Appendf(dst, "%s:", pick(r, `"a"`, `"b"`, `"c"`, `"\u0061"`, `"a\\"`, `""`))
			dst = randomJSON(r, dst, depth-1)
		}
		dst = append(dst, '}')
	case n < 4 && depth > 0:
		dst = append(dst, '[')
		for i := range r.IntN(3) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = randomJSON(r, dst, depth-1)
		}
		dst = append(dst, ']')
	case n < 6:
		dst = fmt.Appendf(dst, "%d", r.IntN(1000)-500)
	case n < 7:
		dst = append(dst, pick(r, "null", "true", "false", "1e5", "-0", "0.25", "1.50")...)
	default:
		dst = fmt.Appendf(dst, `"%s"`, pick(r, "", "x", `\"`, `\\`, `\u00e9`, "é", "a,b", "{}", fmt.Sprintf("%016x", r.Uint64())))
	}
	space()
	return dst
}

func TestRandomJSONReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		docs := make([][]byte, r.IntN(200))
		top := r.IntN(2) == 0
		for i := range docs {
			switch {
			case r.IntN(20) == 0: // nil
			case top:
				docs[i] = append(randomJSON(r, []byte(`{"a":`), 2), '}')
			default:
				docs[i] = randomJSON(r, []byte{}, 4)
			}
		}
		check(t, docs)
		checkPaths(t, docs, []string{"a"}, []string{"a", "b"}, []string{"a", "a"}, []string{"a\\"}, []string{""})
	}
}

// shared is the directory of other people's test data, which lies beside the checkout and is not part of it.
func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PULSESTREAM_SHARED")
	if dir == "" {
		root, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(filepath.Dir(root), "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		t.Skipf("other people's test data is not here, set PULSESTREAM_SHARED to the directory that has data: %v", err)
	}
	return filepath.Join(dir, "data")
}

func TestVendorsPayloadsReadBack(t *testing.T) {
	f, err := os.Open(filepath.Join(shared(t), "vendor", "github-webhooks.ndjson"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var docs [][]byte
	total := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var sample struct{ Payload json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &sample); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, sample.Payload)
		total += len(sample.Payload)
	}
	if lines.Err() != nil || len(docs) == 0 {
		t.Fatalf("%d payloads: %v", len(docs), lines.Err())
	}
	b := check(t, docs)
	checkPaths(t, docs, []string{"action"}, []string{"repository", "full_name"}, []string{"sender", "login"}, []string{"repository", "owner"})
	t.Logf("%d different payloads of %d bytes in %d each", len(docs), total/len(docs), len(b)/len(docs))
	docs = slices.Repeat(docs, 20)
	b = check(t, docs)
	t.Logf("%d payloads, each %d times, in %d bytes each", len(docs), 20, len(b)/len(docs))
}

func TestParsersTestSuiteReadsBack(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t), "json", "parsing", "*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no files of the suite: %v", err)
	}
	var docs [][]byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, b)
	}
	check(t, docs)
	check(t, slices.Repeat(docs, 20))
}

func TestNaughtyStringsReadBack(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(shared(t), "json", "naughty-strings.json"))
	if err != nil {
		t.Skip(err)
	}
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		t.Fatal(err)
	}
	var docs [][]byte
	for _, s := range texts {
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, fmt.Appendf(nil, `{"text":%s,%s:1}`, quoted, quoted), fmt.Appendf(nil, `{"text":%s}`, quoted), []byte(s))
	}
	check(t, docs)
}

func TestDamageIsAnErrorOrOtherTextsButNoPanic(t *testing.T) {
	docs := append(vendorLike(400), nil, []byte("a whole text"))
	whole := NewEncoder().Append(nil, docs)
	rng := rand.New(rand.NewPCG(13, 14))
	var r Reader
	var all column.Texts
	var v Values
	for range 1000 {
		src := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			src[rng.IntN(len(src))] ^= 1 << rng.IntN(8)
		}
		if rng.IntN(4) == 0 {
			src = src[:rng.IntN(len(src))]
		}
		err := r.Reset(src, len(docs))
		if err == nil {
			err = errors.Join(r.Docs(&all, 0, r.Len()), r.Path(&v, 0, r.Len(), "status"), r.Path(&v, 0, r.Len(), "card"))
		}
		if err == nil {
			_, err = r.Numbers(nil, 0, r.Len(), "amount")
		}
		if err != nil && !errors.Is(err, column.ErrCorrupt) {
			t.Fatal(err)
		}
	}
}
