package shred

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// FuzzReader reads bytes that nobody wrote, or that were written and changed: it may fail, but only so.
func FuzzReader(f *testing.F) {
	for _, docs := range [][][]byte{{}, {nil}, repeated(`{"a":1}`), repeated(`{"a":1,"b":{"c":"x"}}`, `{"a":"2"}`), vendorLike(64)} {
		f.Add(NewEncoder().Append(nil, docs), len(docs))
	}
	f.Fuzz(func(t *testing.T, src []byte, n int) {
		if n > 1<<14 {
			return
		}
		var r Reader
		if err := r.Reset(src, n); err != nil {
			return
		}
		if r.Len() != n {
			t.Fatalf("%d rows, want %d", r.Len(), n)
		}
		var all column.Texts
		err := r.Docs(&all, 0, r.Len())
		if err != nil && !errors.Is(err, column.ErrCorrupt) {
			t.Fatal(err)
		}
		for i := range min(n, 100) {
			one, oneErr := r.Doc(nil, i)
			if err == nil && (oneErr != nil || !bytes.Equal(one, all.At(i))) {
				t.Fatalf("row %d is %q, alone %q, %v", i, all.At(i), one, oneErr)
			}
		}
		var v Values
		for _, path := range [][]string{{"a"}, {"b", "c"}, {}} {
			for _, from := range []int{n / 2, 0} {
				if numbers, err := r.Numbers(nil, from, n, path...); err == nil && len(numbers) != n-from {
					t.Fatalf("%d numbers, want %d", len(numbers), n-from)
				}
			}
			if err := r.Path(&v, 0, r.Len(), path...); err != nil {
				continue
			}
			for i := range n {
				_, _ = v.Kind(i), v.Raw(i)
			}
		}
	})
}

// FuzzReadBack shreds lines, each often enough for a shape of its own and once more.
func FuzzReadBack(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"a":"x"}`), []byte(`{"a":null,"b":{"c":[1,2]}}`), "a")
	f.Add([]byte(`{"a\"":1}`), []byte(`{"\u0061":"\\"}`), []byte(`{"a`), "b")
	f.Add([]byte(" [ 1 , \"\x00\" ]"), []byte("\x00"), []byte{}, "")
	f.Fuzz(func(t *testing.T, a, b, c []byte, name string) {
		var docs [][]byte
		for i := range 3 * (minRows + 1) {
			docs = append(docs, [][]byte{a, b, c}[i%3])
		}
		docs = append(docs, nil, []byte{}, a)
		check(t, docs)
		if json.Valid(a) && json.Valid(b) && json.Valid(c) && json.Valid([]byte(`"`+name+`"`)) && bytes.IndexByte([]byte(name), '\\') < 0 {
			checkPaths(t, docs, []string{name}, []string{"b", name}, []string{"a"})
		}
	})
}
