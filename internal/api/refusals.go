package api

import (
	"errors"
	"net/http"
	"sync"

	"github.com/pulsestream/pulsestream/internal/auth"
)

// loggedRefusals is how many refusals a second are logged. Whoever sends more fills no disk with them; the next second says how many were left out.
const loggedRefusals = 20

// refusals bounds how many are logged.
type refusals struct {
	mu      sync.Mutex
	second  int64
	logged  int
	leftOut int
}

// take says whether one more may be logged at a second, and how many were left out since the last that was.
func (l *refusals) take(second int64) (may bool, leftOut int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second != l.second {
		l.second, l.logged = second, 0
	}
	if l.logged == loggedRefusals {
		l.leftOut++
		return false, 0
	}
	leftOut = l.leftOut
	l.logged, l.leftOut = l.logged+1, 0
	return true, leftOut
}

// refused logs that somebody was not let through, unless they have shown no credentials at all.
func (a *api) refused(r *http.Request, p auth.Principal, permission auth.Permission, err error) {
	reason := "the permission is missing"
	switch {
	case errors.Is(err, auth.ErrBadCredentials):
		reason = "the credentials are not known, or no longer"
	case errors.Is(err, errCrossOrigin):
		reason = "a page of another site has sent it"
	case p.Subject == "":
		return
	}
	may, leftOut := a.refusals.take(a.Now().Unix())
	if !may {
		return
	}
	a.Log.Info("a request was refused", "event.category", "authentication", "event.outcome", "failure", "event.reason", reason, "tenant.id", string(p.Tenant), "user.id", p.Subject,
		"permission", string(permission), "http.request.method", r.Method, "source.address", address(r), "left_out", leftOut)
}
