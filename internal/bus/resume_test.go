package bus

import (
	"errors"
	"testing"
	"time"
)

func TestAReaderGoesOnWhereItsNumbersStillCount(t *testing.T) {
	id := partitionIdentity{Incarnation: "c", Past: []past{{Incarnation: "a", Last: 10}, {Incarnation: "b", Last: 20}}}
	log := Position{Incarnation: "c", First: 5, Last: 30}
	for name, x := range map[string]struct {
		incarnation string
		seq         uint64
		at          Position
		after       uint64
		missed      uint64 // the last one that the log does not have any more
		err         error
	}{
		"nothing read yet":                             {"", 0, log, 4, 4, nil},
		"nothing read yet of an empty log":             {"", 0, Position{Incarnation: "c"}, 0, 0, nil},
		"in the present incarnation":                   {"c", 25, log, 25, 0, nil},
		"at its end":                                   {"c", 30, log, 30, 0, nil},
		"in the one before":                            {"b", 12, log, 12, 0, nil},
		"at the end of the one before":                 {"b", 20, log, 20, 0, nil},
		"in an earlier one":                            {"a", 10, log, 10, 0, nil},
		"just before the first":                        {"c", 4, log, 4, 0, nil},
		"before the first":                             {"a", 3, log, 4, 4, nil},
		"further than an earlier one went":             {"a", 11, log, 0, 0, ErrForeign},
		"further than the log goes":                    {"c", 31, log, 0, 0, ErrShorter},
		"in one that is not known":                     {"x", 3, log, 0, 0, ErrForeign},
		"everything is too old, and all of it is read": {"c", 30, Position{Incarnation: "c", First: 31, Last: 30}, 30, 0, nil},
	} {
		got, lost, err := resume(id, x.incarnation, x.seq, x.at)
		if !errors.Is(err, x.err) || (err == nil && got.After != x.after) {
			t.Errorf("%s: behind %d, %v; want %d, %v", name, got.After, err, x.after, x.err)
		}
		if (lost != nil) != (x.missed > 0) || (lost != nil && (lost.FromSeq != x.seq+1 || lost.ToSeq != x.missed)) {
			t.Errorf("%s: lost %+v", name, lost)
		}
	}
}

func TestEachLossBeginsAnIncarnationThatKnowsTheOnesBefore(t *testing.T) {
	var id partitionIdentity
	id.mint(0, time.Now())
	first := id.Incarnation
	id.mint(7, time.Now())
	second := id.Incarnation
	id.mint(9, time.Now())
	if !id.knows(first, 7) || id.knows(first, 8) || !id.knows(second, 9) || id.knows(second, 10) || !id.knows(id.Incarnation, 100) || id.knows("other", 1) {
		t.Errorf("%+v", id)
	}
	if first == second || second == id.Incarnation || len(id.Past) != 2 {
		t.Errorf("%+v", id)
	}
}

func TestThePendingBytesAreBoundedHoweverLongTheLog(t *testing.T) {
	var s sizes
	s.set(nil)
	for seq := range uint64(300_000) {
		s.add(seq+1, stepBytes)
	}
	if len(s.steps) > maxSteps {
		t.Errorf("%d steps", len(s.steps))
	}
	messages, bytes := s.behind(150_000)
	if messages != 150_000 || bytes < 149_000*stepBytes || bytes > 151_000*stepBytes {
		t.Errorf("%d messages, %d bytes", messages, bytes)
	}
}
