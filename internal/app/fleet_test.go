package app

import (
	"sync/atomic"
	"testing"
)

func TestTheMarkOfWhatIsStoredNeverGoesBack(t *testing.T) {
	var mark atomic.Uint64
	for _, x := range []struct{ said, want uint64 }{{0, 0}, {7, 7}, {0, 7}, {5, 7}, {9, 9}} { // 0 is an owner that has just begun
		if advance(&mark, x.said); mark.Load() != x.want {
			t.Errorf("after %d it is %d, want %d", x.said, mark.Load(), x.want)
		}
	}
}
