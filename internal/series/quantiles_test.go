package series

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// distributions draws from what real values look like, and from what they should not.
func distributions(r *rand.Rand) map[string]func() float64 {
	return map[string]func() float64{
		"uniform":         func() float64 { return r.Float64() * 1000 },
		"normal":          func() float64 { return r.NormFloat64()*15 + 3 },
		"log-normal":      func() float64 { return math.Exp(r.NormFloat64() * 3) },
		"pareto":          func() float64 { return math.Pow(1-r.Float64(), -1/1.1) },
		"negative":        func() float64 { return -math.Exp(r.NormFloat64() * 2) },
		"both signs":      func() float64 { return r.NormFloat64() * math.Exp(r.NormFloat64()*2) },
		"tiny":            func() float64 { return math.Exp(r.NormFloat64()) * 1e-280 },
		"huge":            func() float64 { return math.Exp(r.NormFloat64()) * 1e300 },
		"mostly zero":     func() float64 { return float64(r.IntN(10)/9) * r.Float64() },
		"one value":       func() float64 { return 42 },
		"cents":           func() float64 { return float64(r.IntN(100_00)) / 100 },
		"two far apart":   func() float64 { return []float64{1e-9, 1e9}[r.IntN(2)] },
		"milliseconds":    func() float64 { return math.Round(math.Exp(r.NormFloat64()*1.2 + 4)) },
		"smallest normal": func() float64 { return 0x1p-1022 * (1 + r.Float64()) },
	}
}

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for name, draw := range distributions(r) {
		for _, n := range []int{1, 2, 7, 100, 20_000} {
			var a Agg
			values := make([]float64, n)
			for i := range values {
				values[i] = draw()
				a.Add(Observation{Value: values[i], Numeric: true})
			}
			slices.Sort(values)
			for _, p := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1} {
				want := values[int(p*float64(n-1))]
				got, ok := a.Quantile(p)
				if !ok || math.Abs(got-want) > Accuracy*math.Abs(want)*(1+1e-9) {
					t.Errorf("%s, %d values: the %v-quantile is %v, want %v", name, n, p, got, want)
				}
			}
		}
	}
}

func TestASketchStaysBoundedAndItsUpperQuantilesExact(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	values := make([]float64, 50_000)
	parts := make([]Quantiles, 10)
	var whole Quantiles
	for i := range values {
		values[i] = math.Pow(10, r.Float64()*600-300)
		whole.Add(values[i])
		parts[r.IntN(len(parts))].Add(values[i])
	}
	var merged Quantiles
	for i := range parts {
		merged.Merge(&parts[i])
	}
	slices.Sort(values)
	if len(whole.positive) > maxBuckets {
		t.Errorf("%d buckets", len(whole.positive))
	}
	for _, p := range []float64{0, 0.5, 0.95, 0.99, 1} {
		if merged.At(p) != whole.At(p) {
			t.Errorf("the %v-quantile is %v in one piece and %v merged", p, whole.At(p), merged.At(p))
		}
	}
	for _, p := range []float64{0.95, 0.99, 1} {
		if want := values[int(p*float64(len(values)-1))]; math.Abs(whole.At(p)-want) > 0.0101*want {
			t.Errorf("the %v-quantile is %v, want %v", p, whole.At(p), want)
		}
	}
}

func TestQuantilesOfNothingIsZero(t *testing.T) {
	var q Quantiles
	if q.At(0.5) != 0 {
		t.Errorf("the median of nothing is %v", q.At(0.5))
	}
	var a Agg
	if _, ok := a.Quantile(0.5); ok {
		t.Error("an empty aggregate has a median")
	}
}

func TestABucketIsWhatTheLogarithmSays(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	check := func(v float64) {
		if v > tiny && !math.IsInf(v, 0) && index(v) != exactIndex(v) {
			t.Fatalf("%v is in bucket %d, want %d", v, index(v), exactIndex(v))
		}
	}
	for name, draw := range distributions(r) {
		_ = name
		for range 20_000 {
			check(math.Abs(draw()))
		}
	}
	for range 500_000 {
		check(math.Float64frombits(r.Uint64() &^ (1 << 63)))
	}
	// And where buckets meet: a few numbers on both sides.
	for i := int32(-35_300); i < 35_480; i++ {
		v := math.Exp(float64(i) * logGamma)
		for range 4 {
			check(v)
			v = math.Nextafter(v, 0)
		}
		check(math.Nextafter(math.Exp(float64(i)*logGamma), math.Inf(1)))
	}
}
