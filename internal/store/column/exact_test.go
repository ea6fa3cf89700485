package column

import (
	"math/rand/v2"
	"testing"
)

func TestMultiplesAreToldAndDividedWithoutADivision(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 200_000 {
		divisor := r.Uint64()>>r.IntN(63) | 1<<r.IntN(12)
		v := r.Uint64() >> r.IntN(64)
		switch r.IntN(3) {
		case 0:
			v -= v % divisor
		case 1:
			v = divisor
		}
		e := exactly(divisor)
		if got := e.divides(v); got != (v%divisor == 0) {
			t.Fatalf("%d is a multiple of %d: %v", v, divisor, got)
		}
		v -= v % divisor
		if e.of(v) != v/divisor {
			t.Fatalf("%d by %d is %d", v, divisor, e.of(v))
		}
		if s, d := int64(v), int64(divisor); s > 0 && d > 0 && (e.signed(s) != s/d || e.signed(-s) != -s/d) {
			t.Fatalf("±%d by %d are %d and %d", v, divisor, e.signed(s), e.signed(-s))
		}
	}
}
