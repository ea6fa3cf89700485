package metric

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
)

func TestDecodingIsWhatEncodingJSONDecodes(t *testing.T) {
	texts := []string{chargeData, ` [ 1 , "a" , { } , [ ] , { "b" : null } ] `, `"x"`, `-1.5e3`, `null`, `{"a":{"a":{"a":[[[]]]}}}`,
		`"\u00e9\ud83d\ude00\ud800\"\\\/\b\f\n\r\t"`, `"\ud800\ud800\udc00"`, `{"\u0061\u0062":1}`, `"ends in a backslash\\"`, `["\\","\"","\\\""]`}
	g := generator{rand.New(rand.NewPCG(1, 1))}
	for range 2000 {
		texts = append(texts, g.json(5))
	}
	var tp tape
	for _, text := range texts {
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			if strings.Contains(err.Error(), "cannot unmarshal number") {
				continue // out of range: infinite for us
			}
			t.Fatal(text, err)
		}
		if !tp.build([]byte(text)) {
			t.Errorf("%s: not indexed", text)
		} else if got := tp.decode(0); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoded as %#v, want %#v", text, got, want)
		}
	}
}

func TestBrokenTextsHaveNoTape(t *testing.T) {
	var tp tape
	for _, text := range []string{"", " ", "{", "[", "[1", "[1,", "[1,]", "[1]]", "{]", "[}", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `"a`, `"a\"`, `"a\`, "1 2", "[1 2]", `{"a" 1}`, `{"a":1 "b":2}`, `{1:2}`, "]", ","} {
		if tp.build([]byte(text)) || len(tp.nodes) != 0 {
			t.Errorf("%q has a tape", text)
		}
	}
}

func FuzzTape(f *testing.F) {
	for _, s := range []string{chargeData, `{"a":[1,"\u00e9\"",{}],"a":null}`, `["\\`, `{"\ud800":tru`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var tp tape
		ok := tp.build(raw)
		var scan event.Scanner
		end, err := scan.Value(raw, 0)
		valid := err == nil && event.Space(raw, end) == len(raw)
		if !ok {
			if valid {
				t.Fatalf("%q is JSON and has no tape", raw)
			}
			return
		}
		decoded := tp.decode(0)
		for i := range tp.nodes {
			tp.member(uint32(i), []byte("a"))
			tp.element(uint32(i), 1)
		}
		var want any
		if valid && json.Unmarshal(raw, &want) == nil && !reflect.DeepEqual(decoded, want) {
			t.Fatalf("%q: decoded as %#v, want %#v", raw, decoded, want)
		}
	})
}

func TestOfTwoMembersWithOneNameTheLastCounts(t *testing.T) {
	var tp tape
	tp.build([]byte(`{"a":1,"b":2,"\u0061":3,"c":4}`))
	if i, ok := tp.member(0, []byte("a")); !ok || tp.decode(i) != 3.0 {
		t.Error("the first member was taken")
	}
	if m := tp.decode(0); !reflect.DeepEqual(m, map[string]any{"a": 3.0, "b": 2.0, "c": 4.0}) {
		t.Errorf("decoded as %v", m)
	}
}
