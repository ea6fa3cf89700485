package column

import "testing"

func TestAllocationsOfNumbers(t *testing.T) {
	for _, c := range numberCases() {
		values := numbersOf(rows, c.of)
		src := AppendInts(nil, values)
		if n := testing.AllocsPerRun(5, func() { src = AppendInts(src[:0], values) }); n != 0 {
			t.Errorf("%s: %v allocations to write a column, want none", c.name, n)
		}
		var err error
		if n := testing.AllocsPerRun(5, func() { values, err = DecodeInts(values, src, rows) }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations to read a column, want none: %v", c.name, n, err)
		}
	}
}

func TestAllocationsOfTexts(t *testing.T) {
	e, d := NewEncoder(), NewDecoder()
	var got Texts
	for _, c := range textCases() {
		values, _ := textsOf(rows, c.of)
		src := e.AppendTexts(nil, values)
		if n := testing.AllocsPerRun(5, func() { src = e.AppendTexts(src[:0], values) }); n != 0 {
			t.Errorf("%s: %v allocations to write a column, want none", c.name, n)
		}
		var err error
		if n := testing.AllocsPerRun(5, func() { err = d.Texts(&got, src, rows) }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations to read a column, want none: %v", c.name, n, err)
		}
	}
}

func TestAllocationsOfCorruptColumnsAreBounded(t *testing.T) {
	var texts Texts
	d := NewDecoder()
	for _, src := range [][]byte{
		{textsPlain, 5, 0, 0, 0, intsConstant, 0xfe, 0xff, 0xff, 0x0f}, // four thousand million bytes each
		{textsZstd, 4, 0, 0, 0, intsConstant, 0x80, 0x80, 0x04, 0, 0, 0},
		{textsCodes, 0xff, 0x7f, 0, 0, 0, 0},
		{textsDecimal, 3, 'a', 'b', 'c', 0, 2, 0, 0, 0, intsConstant, 0x7f, intsConstant, 0},
	} {
		if err := d.Texts(&texts, src, rows); err == nil {
			t.Errorf("% x reads as a column", src)
		}
		if size := cap(texts.data) + 4*cap(texts.ends) + 4*cap(texts.codes); size > 1<<20 {
			t.Errorf("% x takes %d bytes", src, size)
		}
	}
	if _, err := DecodeInts(nil, []byte{intsConstant, 0}, MaxInts+1); err == nil {
		t.Error("more rows than a column may have")
	}
}
