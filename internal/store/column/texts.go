package column

// Texts is a vector of texts, in three pieces of memory without pointers whatever its length. It is plain, a text a row, or coded:
// then each row is a code, and each distinct text stands once. The zero value is empty; reuse it for its memory.
//
// A text may be nil, which is not the empty text.
type Texts struct {
	data  []byte
	ends  []uint32 // ends[0] is 0, ends[i+1] that of entry i, which begins where the one before ends
	nils  []uint64 // a bit for each entry that is nil; shorter, or empty, where the rest has none
	codes []uint32 // of the rows, when coded
	coded bool
}

// Reset empties t.
func (t *Texts) Reset() {
	t.data, t.nils, t.codes, t.coded = t.data[:0], t.nils[:0], t.codes[:0], false
	t.ends = append(t.ends[:0], 0)
}

// Append adds a row to plain texts, a copy of text. A coded vector must be Reset first.
func (t *Texts) Append(text []byte) {
	if len(t.ends) == 0 {
		t.ends = append(t.ends, 0)
	}
	if text == nil {
		t.setNil(len(t.ends) - 1)
	}
	t.data = append(t.data, text...)
	t.ends = append(t.ends, uint32(len(t.data))) //nolint:gosec // at most MaxBytes
}

// AppendString is Append of a text that is never nil.
func (t *Texts) AppendString(text string) {
	if len(t.ends) == 0 {
		t.ends = append(t.ends, 0)
	}
	t.data = append(t.data, text...)
	t.ends = append(t.ends, uint32(len(t.data))) //nolint:gosec // at most MaxBytes
}

// Open is all texts of plain texts one after the other, to append the next one to. Close adds what was appended as a row.
func (t *Texts) Open() []byte { return t.data }

// Close takes what Open's has become. Nothing may come between them.
func (t *Texts) Close(data []byte) {
	if len(t.ends) == 0 {
		t.ends = append(t.ends, 0)
	}
	t.data = data
	t.ends = append(t.ends, uint32(len(data))) //nolint:gosec // at most MaxBytes
}

// Len is the number of rows.
func (t *Texts) Len() int {
	if t.coded {
		return len(t.codes)
	}
	return t.entries()
}

// Bytes is how many bytes the texts take that t holds, each distinct one once where they are coded.
func (t *Texts) Bytes() int { return len(t.data) }

// At is the text of a row: nil, or a view that is good until t changes.
func (t *Texts) At(i int) []byte {
	if t.coded {
		i = int(t.codes[i])
	}
	return t.entry(i)
}

// Codes gives a code for each row, below DictLen, when the vector is coded.
func (t *Texts) Codes() ([]uint32, bool) { return t.codes, t.coded }

// DictLen is the number of distinct texts of a coded vector. Each of them stands in some row.
func (t *Texts) DictLen() int {
	if t.coded {
		return t.entries()
	}
	return 0
}

// DictAt is the text of a code, as At.
func (t *Texts) DictAt(code uint32) []byte { return t.entry(int(code)) }

func (t *Texts) entries() int { return max(0, len(t.ends)-1) }

func (t *Texts) entry(i int) []byte {
	if w := i >> 6; w < len(t.nils) && t.nils[w]>>(i&63)&1 != 0 {
		return nil
	}
	from, to := t.ends[i], t.ends[i+1]
	if from == to {
		return []byte{} // which nil memory would not give
	}
	return t.data[from:to:to]
}

func (t *Texts) setNil(i int) {
	for len(t.nils) <= i>>6 {
		t.nils = append(t.nils, 0)
	}
	t.nils[i>>6] |= 1 << (i & 63)
}

func (t *Texts) isNil(i int) bool {
	w := i >> 6
	return w < len(t.nils) && t.nils[w]>>(i&63)&1 != 0
}

func (t *Texts) hasNil() bool {
	for _, w := range t.nils {
		if w != 0 {
			return true
		}
	}
	return false
}
