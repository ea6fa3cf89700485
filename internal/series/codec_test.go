package series

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func TestAnAggregateArrivesAsItWasSent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	var sent []Agg
	for i := range 2000 {
		var a Agg
		for range r.IntN(4) * r.IntN(4) {
			o := Observation{At: time.Unix(1_700_000_000, int64(r.IntN(1e9)))}
			if i%3 > 0 {
				o.Value, o.Numeric = float64(r.IntN(3)), true
			}
			if i%2 > 0 {
				o.Distinct, o.HasDistinct = uint64(r.IntN(3)), true
			}
			a.Add(o)
		}
		sent = append(sent, a)
		b = a.Append(b)
	}
	for i := range sent {
		a, rest, err := ReadAgg(b)
		if err != nil {
			t.Fatalf("aggregate %d: %v", i, err)
		}
		b = rest
		want := sent[i]
		_, single := want.Single(1_700_000_000)
		if _, still := a.Single(1_700_000_000); single != still {
			t.Errorf("aggregate %d: of a single observation %t, was %t", i, still, single)
		}
		if string(a.Sketches()) != string(want.Sketches()) {
			t.Errorf("aggregate %d has other sketches", i)
		}
		want.sk, a.sk, want.form, a.form, want.hash, a.hash = nil, nil, 0, 0, 0, 0
		if !reflect.DeepEqual(a, want) {
			t.Errorf("aggregate %d is %+v, was %+v", i, a, want)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

// FuzzReadAgg: whatever comes is an aggregate or an error.
func FuzzReadAgg(f *testing.F) {
	var a Agg
	a.Add(Observation{At: time.Unix(1, 0), Value: 3, Numeric: true, Distinct: 7, HasDistinct: true})
	f.Add(a.Append(nil))
	a.Add(Observation{At: time.Unix(1, 0), Value: 4, Numeric: true, Distinct: 8, HasDistinct: true})
	f.Add(a.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _, err := ReadAgg(b)
		if err != nil {
			return
		}
		again, rest, err := ReadAgg(a.Append(nil))
		if err != nil || len(rest) > 0 || again.Count != a.Count || again.Values != a.Values {
			t.Fatalf("%+v, %v, %d bytes left; was %+v", again, err, len(rest), a)
		}
	})
}
