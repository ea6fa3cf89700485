package process

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
)

func TestThoseRefusedByThemselvesAreFoundWithFewTries(t *testing.T) {
	every := func(n, step int) (all []int) {
		for i := 0; i < n; i += step {
			all = append(all, i)
		}
		return all
	}
	for _, c := range []struct {
		n    int
		bad  []int
		most int // tries
	}{
		{0, nil, 0}, {1, []int{0}, 1}, {2, []int{1}, 2}, {3, []int{1}, 4}, {7, nil, 2}, {10, []int{0}, 8}, {10, []int{9}, 8}, {10, []int{4, 5}, 16},
		{1000, []int{999}, 20}, {1024, []int{0}, 20}, {1000, []int{0, 500, 999}, 60}, {20_000, []int{12_345}, 30}, {1000, every(1000, 1), 2000}, {1000, every(1000, 2), 2000},
	} {
		tries := 0
		bad, err := condemn(c.n, func(from, to int) error {
			tries++
			if from >= to {
				t.Fatalf("nothing was tried: %d to %d", from, to)
			}
			for _, i := range c.bad {
				if i >= from && i < to {
					return fmt.Errorf("%w: %d", store.ErrRefused, i)
				}
			}
			return nil
		})
		if got := slices.Sorted(maps.Keys(bad)); err != nil || !slices.Equal(got, c.bad) || tries > c.most {
			t.Errorf("of %d are bad %v; found were %v (%v) with %d tries, at most %d are allowed", c.n, c.bad, got, err, tries, c.most)
		}
		for i, why := range bad {
			if want := fmt.Sprintf("%v: %d", store.ErrRefused, i); why.Error() != want {
				t.Errorf("%d is bad because of %q, want %q", i, why, want)
			}
		}
	}
}

func TestAnErrorThatIsNoRefusalEndsTheSearch(t *testing.T) {
	sick := errors.New("the disk is sick")
	tries := 0
	_, err := condemn(100, func(int, int) error {
		if tries++; tries > 3 {
			return sick
		}
		return store.ErrRefused
	})
	if !errors.Is(err, sick) || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestWhatWasFoundBeforeTheSearchEndedIsKept(t *testing.T) {
	sick := errors.New("the disk is sick")
	bad, err := condemn(100, func(from, to int) error {
		switch {
		case from >= 50:
			return sick
		case from <= 7 && 7 < to:
			return store.ErrRefused
		}
		return nil
	})
	if !errors.Is(err, sick) || len(bad) != 1 || bad[7] == nil {
		t.Errorf("%v, %v", bad, err)
	}
}

func TestMessagesOfARefusedBatchComeAloneAndThoseAroundThemDoNot(t *testing.T) {
	for _, c := range []struct {
		careful stretch
		offset  uint64
		seq     uint64
		want    bool
	}{
		{stretch{}, 0, 0, false}, {stretch{}, 0, 1, false}, {stretch{}, 4, 9, false},
		{stretch{10, 12}, 0, 5, false}, {stretch{10, 12}, 0, 9, true}, {stretch{10, 12}, 9, 9, false}, {stretch{10, 12}, 9, 10, true},
		{stretch{10, 12}, 11, 11, false}, {stretch{10, 12}, 11, 12, true}, {stretch{10, 12}, 12, 12, false}, {stretch{10, 12}, 12, 13, false},
		{stretch{10, 12}, 0, 11, true}, // there is no message 10 any more
	} {
		s := &session{Worker: &Worker{careful: c.careful}, seq: c.seq, offset: store.Offset{Seq: c.offset}}
		if got := s.alone(); got != c.want {
			t.Errorf("%+v: alone is %v", c, got)
		}
	}
	s := &session{Worker: &Worker{careful: stretch{10, 12}}}
	if s.passed(11); s.careful == (stretch{}) {
		t.Error("forgotten before the last message was committed")
	}
	if s.passed(12); s.careful != (stretch{}) {
		t.Errorf("%+v is kept though it was passed", s.careful)
	}
}
