package shred

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

func TestAllocationsOfEncodingInTheSteadyState(t *testing.T) {
	texts := vendorLike(8192)
	e := NewEncoder()
	var dst []byte
	for range 5 { // memory goes round among the slots until it has its size
		dst = e.Append(dst[:0], texts)
	}
	if n := testing.AllocsPerRun(10, func() { dst = e.Append(dst[:0], texts) }); n != 0 {
		t.Errorf("%v allocations a block, want none", n)
	}
}

func TestAllocationsOfDecodingInTheSteadyState(t *testing.T) {
	docs := vendorLike(8192)
	src := NewEncoder().Append(nil, docs)
	var r Reader
	var all column.Texts
	var v Values
	var numbers []float64
	read := func() {
		if err := r.Reset(src, len(docs)); err != nil {
			t.Fatal(err)
		}
		if err := r.Docs(&all, 0, r.Len()); err != nil {
			t.Fatal(err)
		}
		for _, path := range [][]string{{"status"}, {"amount"}, {"card"}, {"nowhere"}} {
			if err := r.Path(&v, 0, r.Len(), path...); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if numbers, err = r.Numbers(numbers, 0, r.Len(), "amount"); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		read()
	}
	if n := testing.AllocsPerRun(10, read); n != 0 {
		t.Errorf("%v allocations a block, want none", n)
	}
}
