package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestTheAddressIsThatOfWhoHasSentARequestToATrustedProxy(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		proxies []netip.Prefix
		peer    string
		chain   []string
		want    string
	}{
		"no proxy is trusted":               {nil, "10.0.0.1:1", []string{"192.0.2.1"}, "10.0.0.1"},
		"the peer is no proxy":              {proxies, "198.51.100.1:1", []string{"192.0.2.1"}, "198.51.100.1"},
		"one proxy":                         {proxies, "10.0.0.1:1", []string{"192.0.2.1"}, "192.0.2.1"},
		"a proxy that is written as IPv6":   {proxies, "[::ffff:10.0.0.1]:1", []string{"192.0.2.1"}, "192.0.2.1"},
		"two proxies":                       {proxies, "[fd00::1]:1", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		"two proxies, a line each":          {proxies, "10.0.0.1:1", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1"},
		"what the client makes up":          {proxies, "10.0.0.1:1", []string{"203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
		"a trusted address that is made up": {proxies, "10.0.0.1:1", []string{"10.9.9.9, 192.0.2.1"}, "192.0.2.1"},
		"a client of IPv6":                  {proxies, "10.0.0.1:1", []string{"2001:db8::1"}, "2001:db8::1"},
		"nothing is said":                   {proxies, "10.0.0.1:1", nil, "10.0.0.1"},
		"no address":                        {proxies, "10.0.0.1:1", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		"no address behind a proxy":         {proxies, "10.0.0.1:1", []string{"192.0.2.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"proxies all the way":               {proxies, "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
	} {
		got := ""
		h := Behind(c.proxies, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _, _ = net.SplitHostPort(r.RemoteAddr) }))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		for _, line := range c.chain {
			r.Header.Add("X-Forwarded-For", line)
		}
		if h.ServeHTTP(httptest.NewRecorder(), r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
