package demo

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// dice makes the random numbers of one purpose: they follow from the seed, what they are for, and a number or two.
func dice(seed uint64, purpose string, n, i int64) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	a := mix(seed ^ h.Sum64())
	b := mix(a ^ uint64(n))                                          //nolint:gosec // any bits will do
	return rand.New(rand.NewPCG(mix(b^uint64(i)), mix(b+uint64(i)))) //nolint:gosec // play, not secrets: it has to come out the same again
}

// mix spreads its input over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// poisson draws how often something happens that happens mean times on average. It is for small means.
func poisson(r *rand.Rand, mean float64) int {
	limit, p := math.Exp(-mean), 1.0
	for n := 0; ; n++ {
		if p *= r.Float64(); p <= limit || n > 1000 {
			return n
		}
	}
}

// weighted is something to choose, and how often.
type weighted[T any] struct {
	weight float64
	value  T
}

// choose picks one, by weight.
func choose[T any](r *rand.Rand, of []weighted[T]) T {
	sum := 0.0
	for i := range of {
		sum += of[i].weight
	}
	u := r.Float64() * sum
	for i := range of {
		if u -= of[i].weight; u < 0 {
			return of[i].value
		}
	}
	return of[len(of)-1].value
}

const (
	hexDigits = "0123456789abcdef"
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// token is n characters of an alphabet.
func token(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// uuid is a random UUID, version 4.
func uuid(r *rand.Rand) string {
	h := token(r, hexDigits, 32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// around is a number near x, as much below it as above it when both are looked at as factors; spread 0.5 is usual.
func around(r *rand.Rand, x, spread float64) float64 { return x * math.Exp(spread*r.NormFloat64()) }
