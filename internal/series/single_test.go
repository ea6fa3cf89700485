package series

import (
	"math"
	"testing"
	"time"
)

func TestASingleObservationComesBackAsItWas(t *testing.T) {
	at := time.Unix(1_800_000_000, 987_654_321)
	for name, o := range map[string]Observation{
		"nothing":           {At: at},
		"a number":          {At: at, Numeric: true, Value: 12.5},
		"zero":              {At: at, Numeric: true},
		"minus zero":        {At: at, Numeric: true, Value: math.Copysign(0, -1)},
		"infinite":          {At: at, Numeric: true, Value: math.Inf(-1)},
		"distinct":          {At: at, HasDistinct: true, Distinct: 7},
		"distinct by 0":     {At: at, HasDistinct: true},
		"both":              {At: at, Numeric: true, Value: -3, HasDistinct: true, Distinct: math.MaxUint64},
		"before the epoch":  {At: time.Unix(-5, 1), Numeric: true, Value: 1},
		"on the very start": {At: time.Unix(5, 0), Numeric: true, Value: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var a Agg
			a.Add(o)
			s, ok := a.Single(o.At.Unix())
			if !ok {
				t.Fatal("it is not single")
			}
			if got := s.Agg(o.At.Unix()); got != a {
				t.Errorf("got %+v, want %+v", got, a)
			}
		})
	}
}

func TestOnlyOneObservationOfThatSecondIsSingle(t *testing.T) {
	one := Observation{At: time.Unix(10, 5), Numeric: true, Value: 1, HasDistinct: true, Distinct: 3}
	var twice, once, bare Agg
	twice.Add(one)
	twice.Add(one)
	once.Add(one)
	bare.MergeScalars(&once)
	for name, c := range map[string]struct {
		agg    Agg
		second int64
	}{
		"none": {Agg{}, 10}, "two": {twice, 10}, "of the second before": {once, 11}, "of the second after": {once, 9}, "without its sketches": {bare, 10},
	} {
		if _, ok := c.agg.Single(c.second); ok {
			t.Errorf("%s: it is single", name)
		}
	}
}
