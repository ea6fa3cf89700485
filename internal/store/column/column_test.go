package column

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

const rows = 8192

func numbersOf(n int, f func(r *rand.Rand, i int) int64) []int64 {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]int64, n)
	for i := range values {
		values[i] = f(r, i)
	}
	return values
}

type numbers struct {
	name string
	most float64 // bytes a number, with 8192 of them
	of   func(r *rand.Rand, i int) int64
}

func numberCases() []numbers {
	return []numbers{
		{"one number", 0.01, func(*rand.Rand, int) int64 { return -42 }},
		{"small numbers", 0.51, func(r *rand.Rand, _ int) int64 { return r.Int64N(10) - 3 }},
		{"counted up", 0.01, func(_ *rand.Rand, i int) int64 { return int64(i) * 7 }},
		{"counted down", 0.01, func(_ *rand.Rand, i int) int64 { return -int64(i) * 7 }},
		{"milliseconds as nanoseconds", 1.5, func(r *rand.Rand, i int) int64 {
			return 1_790_000_000_000_000_000 + int64(i)*40_000_000 + r.Int64N(30)*1_000_000
		}},
		{"times that begin again with each type", 1.6, func(r *rand.Rand, i int) int64 {
			return 1_790_000_000_000_000 + int64(i%1024)*2000 + r.Int64N(1900)
		}},
		{"times that begin again every twenty rows", 2.6, func(r *rand.Rand, i int) int64 {
			return 1_790_000_000_000_000 + int64(i%20)*40_000_000_000 + r.Int64N(1900)
		}},
		{"runs", 0.05, func(_ *rand.Rand, i int) int64 { return int64(i / 400 * 12345 % 977) }},
		{"a few far apart", 0.51, func(r *rand.Rand, _ int) int64 { return []int64{5, 1 << 40, -1 << 50, 77, 0, 99, 1 << 60}[r.IntN(7)] }},
		{"any bits", 8.01, func(r *rand.Rand, _ int) int64 { return int64(r.Uint64()) }},
		{"sixty bits", 8.01, func(r *rand.Rand, _ int) int64 { return r.Int64N(1 << 60) }},
		{"fifty-seven bits", 7.2, func(r *rand.Rand, _ int) int64 { return r.Int64N(1 << 57) }},
		{"extremes", 0.3, func(r *rand.Rand, _ int) int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)] }},
		{"extremes in turn", 0.3, func(_ *rand.Rand, i int) int64 { return []int64{math.MinInt64, math.MaxInt64}[i%2] }},
		{"walk", 1.01, func(r *rand.Rand, i int) int64 { return int64(i*50) + r.Int64N(100) }},
	}
}

func TestNumbersReadBackAndAreSmall(t *testing.T) {
	for _, c := range numberCases() {
		for _, n := range []int{0, 1, 2, 3, 7, 63, 64, 65, 127, 128, 129, 1000, rows} {
			values := numbersOf(n, c.of)
			b := AppendInts([]byte("before"), values)
			got, err := DecodeInts(nil, b[6:], n)
			if err != nil || !slices.Equal(got, values) || string(b[:6]) != "before" {
				t.Fatalf("%s, %d of them: err %v, equal %v", c.name, n, err, slices.Equal(got, values))
			}
			if size := float64(len(b)-6) / rows; n == rows && size > c.most {
				t.Errorf("%s: %.3f bytes a number, want at most %.3f (form %d)", c.name, size, c.most, b[6])
			}
		}
	}
}

func TestNumbersOfEveryWidthReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for width := range 65 {
		for _, n := range []int{2, 9, 64, 200} {
			values := make([]int64, n)
			for i := range values {
				if width > 0 {
					values[i] = int64(r.Uint64() >> (64 - width))
				}
			}
			b := AppendInts(nil, values)
			if got, err := DecodeInts(nil, b, n); err != nil || !slices.Equal(got, values) {
				t.Fatalf("%d numbers of %d bits: %v", n, width, err)
			}
		}
	}
}

type words struct {
	name string
	most float64 // bytes a text, with 8192 of them
	of   func(r *rand.Rand, i int) []byte
}

func text(format string, args ...any) []byte { return fmt.Appendf([]byte{}, format, args...) }

func randomHex(r *rand.Rand, digits int) string {
	b := make([]byte, (digits+1)/2)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)[:digits]
}

func fromAlphabet(r *rand.Rand, n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func textCases() []words {
	return []words{
		{"one text", 0.01, func(*rand.Rand, int) []byte { return text("usd") }},
		{"one empty text", 0.01, func(*rand.Rand, int) []byte { return []byte{} }},
		{"only nil", 0.01, func(*rand.Rand, int) []byte { return nil }},
		{"empty and nil", 0.14, func(r *rand.Rand, _ int) []byte { return [][]byte{nil, {}}[r.IntN(2)] }},
		{"few", 0.4, func(r *rand.Rand, _ int) []byte { return text("country-%d", r.IntN(7)) }},
		{"few, sorted", 0.02, func(_ *rand.Rand, i int) []byte { return text("com.example.type.%d", i/1000) }},
		{"few and nil", 0.4, func(r *rand.Rand, _ int) []byte {
			if r.IntN(3) == 0 {
				return nil
			}
			return text("country-%d", r.IntN(7))
		}},
		{"decimal numbers", 2.2, func(r *rand.Rand, _ int) []byte { return text("%d", r.IntN(100_000)) }},
		{"negative ones", 2.4, func(r *rand.Rand, _ int) []byte { return text("%d", r.IntN(100_000)-50_000) }},
		{"numbers and nil", 2.4, func(r *rand.Rand, i int) []byte {
			if i%5 == 0 {
				return nil
			}
			return text("%d", r.IntN(100_000))
		}},
		{"prices", 2.8, func(r *rand.Rand, _ int) []byte { return text("%.2f", float64(r.IntN(1_000_000))/100) }},
		{"floats", 3.2, func(r *rand.Rand, _ int) []byte {
			return strconv.AppendFloat([]byte{}, float64(r.IntN(1_000_000))/1000, 'f', -1, 64)
		}},
		{"long floats", 7.6, func(r *rand.Rand, _ int) []byte { return strconv.AppendFloat([]byte{}, r.Float64(), 'f', -1, 64) }},
		{"numbers that do not round-trip", 3, func(r *rand.Rand, _ int) []byte { return text("%06d", r.IntN(100_000)) }},
		{"customers", 1.7, func(r *rand.Rand, _ int) []byte { return text("customer_%d", r.IntN(5000)) }},
		{"sequence", 0.02, func(_ *rand.Rand, i int) []byte { return text("evt_%012d", i+12345) }},
		{"hexadecimal ids", 8.02, func(r *rand.Rand, _ int) []byte { return text("bench-1-%s", randomHex(r, 16)) }},
		{"long hexadecimal ids", 16.05, func(r *rand.Rand, _ int) []byte { return text("SM%s", randomHex(r, 32)) }},
		{"odd hexadecimal ids", 10, func(r *rand.Rand, _ int) []byte { return text("x%s_end", randomHex(r, 19)) }},
		{"UUIDs", 15.8, func(r *rand.Rand, _ int) []byte {
			return text("%s-%s-4%s-%c%s-%s", randomHex(r, 8), randomHex(r, 4), randomHex(r, 3), "89ab"[r.IntN(4)], randomHex(r, 3), randomHex(r, 12))
		}},
		{"base62 ids", 18.5, func(r *rand.Rand, _ int) []byte { return text("ch_%s", fromAlphabet(r, 24, base62)) }},
		{"ids of several vendors", 15, func(r *rand.Rand, i int) []byte {
			switch i / 2731 {
			case 0:
				return text("evt_%s", fromAlphabet(r, 24, base62))
			case 1:
				return text("SM%s", randomHex(r, 32))
			}
			return text("%d", 10_000_000_000+r.Int64N(1_000_000_000))
		}},
		{"times", 2.6, func(r *rand.Rand, i int) []byte {
			return text("2026-07-%02dT%02d:%02d:%02dZ", 1+i/8000, i/400%24, r.IntN(60), r.IntN(60))
		}},
		{"words", 22, func(r *rand.Rand, i int) []byte {
			return text("the %dth message of %s to someone", i, fromAlphabet(r, 1+r.IntN(20), "abcdefgh"))
		}},
		{"binary", 40, func(r *rand.Rand, _ int) []byte { return []byte(fromAlphabet(r, r.IntN(60), "\x00\xff\xfe\x80\"\\")) }},
		{"lengths apart", 140, func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{byte(i), byte(r.Uint32())}, i%300) }},
	}
}

func textsOf(n int, f func(r *rand.Rand, i int) []byte) (*Texts, [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	var t Texts
	all := make([][]byte, n)
	for i := range all {
		all[i] = f(r, i)
		t.Append(all[i])
	}
	return &t, all
}

func sameTexts(got *Texts, want [][]byte) error {
	if got.Len() != len(want) {
		return fmt.Errorf("%d texts, want %d", got.Len(), len(want))
	}
	for i, w := range want {
		if g := got.At(i); !bytes.Equal(g, w) || (g == nil) != (w == nil) {
			return fmt.Errorf("text %d is %q, want %q", i, g, w)
		}
	}
	return nil
}

func TestTextsReadBackAndAreSmall(t *testing.T) {
	e, d := NewEncoder(), NewDecoder()
	var got Texts
	for _, c := range textCases() {
		for _, n := range []int{0, 1, 2, 3, 7, 30, 64, 129, 1000, rows} {
			values, all := textsOf(n, c.of)
			b := e.AppendTexts([]byte("before"), values)
			if err := d.Texts(&got, b[6:], n); err != nil {
				t.Fatalf("%s, %d of them: %v", c.name, n, err)
			}
			if err := sameTexts(&got, all); err != nil {
				t.Fatalf("%s, %d of them: %v", c.name, n, err)
			}
			if size := float64(len(b)-6) / rows; n == rows {
				t.Logf("%-32s %7.3f bytes a text (form %d)", c.name, size, b[6])
				if size > c.most {
					t.Errorf("%s: %.3f bytes a text, want at most %.3f (form %d)", c.name, size, c.most, b[6])
				}
			}
			again := e.AppendTexts(nil, &got)
			if err := d.Texts(&got, again, n); err != nil {
				t.Fatalf("%s, %d of them, again: %v", c.name, n, err)
			}
			if err := sameTexts(&got, all); err != nil {
				t.Fatalf("%s, %d of them, again: %v", c.name, n, err)
			}
		}
	}
}

func TestDamageIsAnErrorOrOtherValuesButNoPanic(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e, d := NewEncoder(), NewDecoder()
	var texts Texts
	damage := func(src []byte) []byte {
		src = bytes.Clone(src)
		for range 1 + r.IntN(3) {
			src[r.IntN(len(src))] ^= 1 << r.IntN(8)
		}
		return src[:len(src)-r.IntN(4)/3*r.IntN(len(src))]
	}
	for _, c := range textCases() {
		values, _ := textsOf(200, c.of)
		src := e.AppendTexts(nil, values)
		for range 200 {
			if err := d.Texts(&texts, damage(src), 200); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: %v", c.name, err)
			}
			for i := range texts.Len() {
				texts.At(i)
			}
		}
	}
	for _, c := range numberCases() {
		src := AppendInts(nil, numbersOf(200, c.of))
		for range 200 {
			if _, err := DecodeInts(nil, damage(src), 200); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
	}
}

func TestAnInternerGivesEqualTextsOneCode(t *testing.T) {
	var n Interner
	for round := range 2 {
		n.Reset()
		for pass := range 2 {
			for i := range 5000 {
				if code := n.Code(text("text %d", i)); int(code) != i {
					t.Fatalf("round %d, pass %d: text %d has code %d", round, pass, i, code)
				}
			}
		}
		for i, want := range [][]byte{{}, nil} {
			if code := n.Code(want); int(code) != 5000+i || n.Find(want) != 5000+i {
				t.Fatalf("%q has code %d", want, code)
			}
		}
		if n.Len() != 5002 || n.Find([]byte("other")) != -1 || string(n.Texts().At(77)) != "text 77" {
			t.Fatal("not the texts that were given")
		}
	}
}

func TestFloatsAreThoseOfTheTexts(t *testing.T) {
	e, d := NewEncoder(), NewDecoder()
	for _, c := range textCases() {
		values, all := textsOf(1000, c.of)
		got, decimal, err := d.Floats(nil, e.AppendTexts(nil, values), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Contains([]string{"decimal numbers", "negative ones", "prices", "floats", "long floats"}, c.name); decimal != want {
			t.Errorf("%s: decimal is %v", c.name, decimal)
		}
		for i, v := range got {
			if want, err := strconv.ParseFloat(string(all[i]), 64); err != nil || v != want {
				t.Fatalf("%s: %s is %v", c.name, all[i], v)
			}
		}
	}
}
