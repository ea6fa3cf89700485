package audit

import "github.com/pulsestream/pulsestream/internal/store"

// HasRow says whether somebody has decided how changes of a kind are recorded.
func HasRow(k store.Kind) bool {
	_, ok := kinds()[k]
	return ok
}
