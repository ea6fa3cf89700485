package api

import "testing"

func TestALossSaysHowManyMessagesAreGoneAndHowManyOfTheseTheStoreLacks(t *testing.T) {
	for name, c := range map[string]struct {
		loss          Loss
		gone, missing uint64
		known         bool
	}{
		"nothing was stored":       {Loss{From: 5, To: 9}, 5, 5, true},
		"some were stored":         {Loss{From: 5, To: 9, Stored: 7}, 5, 2, true},
		"all were stored":          {Loss{From: 5, To: 9, Stored: 9}, 5, 0, true},
		"more was stored":          {Loss{From: 5, To: 9, Stored: 90}, 5, 0, true},
		"the store was far behind": {Loss{From: 5, To: 9, Stored: 2}, 5, 5, true},
		"a single one":             {Loss{From: 1, To: 1}, 1, 1, true},
		"the beginning is unknown": {Loss{To: 9}, 0, 0, false},
		"the end is unknown":       {Loss{From: 9}, 0, 0, false},
	} {
		if gone, missing, known := c.loss.Messages(); gone != c.gone || missing != c.missing || known != c.known {
			t.Errorf("%s: %d gone, %d of them missing, %v", name, gone, missing, known)
		}
	}
}
