package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Behind gives each request that a trusted proxy passes on the address of who has sent it to the proxy. Without proxies nothing is believed.
func Behind(proxies []netip.Prefix, next http.Handler) http.Handler {
	if len(proxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := sender(proxies, r); a.IsValid() {
			other := *r
			other.RemoteAddr = net.JoinHostPort(a.String(), "0") // the port is not told
			r = &other
		}
		next.ServeHTTP(w, r)
	})
}

// sender is the rightmost address of X-Forwarded-For that is no trusted proxy's, since whatever stands left of it may be made up; what is no address
// ends the search. It is not valid where the peer's own address holds.
func sender(proxies []netip.Prefix, r *http.Request) (found netip.Addr) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !within(proxies, peer.Addr()) {
		return found
	}
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			return found
		}
		found = a.Unmap().WithZone("")
		if !within(proxies, found) {
			return found
		}
	}
	return found
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
