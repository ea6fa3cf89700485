// Package egress is the dial guard: the only way by which PulseStream calls out to addresses that its users have entered.
//
// What a user enters as a webhook or a mail server must not become a way into the network that the server stands in. So each
// connection is checked after name resolution, for the very address that is dialled: a name that resolves to something else
// the second time (DNS rebinding) gains nothing. All addresses that are not of the public internet are refused unless the
// operator has allowed them.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// dialTimeout bounds one connection attempt, name resolution included.
const dialTimeout = 10 * time.Second

// Guard decides which addresses may be dialled. It is safe for concurrent use.
type Guard struct {
	allow     []netip.Prefix
	table     []classified
	global6   netip.Prefix
	nat64     netip.Prefix
	sixToFour netip.Prefix
	roots     *x509.CertPool
	resolver  *net.Resolver // nil: the system's
}

// Refused is the error of a connection that the guard does not let through. It is final: nothing changes by trying again.
type Refused struct {
	Host string     // as it was asked for; empty when that is not known
	Addr netip.Addr // what it resolved to; the zero Addr when the network is none that the guard knows
	What string     // what kind of address that is
}

func (e *Refused) Error() string {
	if !e.Addr.IsValid() {
		return "outgoing connections go by TCP only"
	}
	name := e.Addr.String()
	if e.Host != "" && e.Host != name {
		name = e.Host + " (" + name + ")"
	}
	bits := e.Addr.BitLen()
	return fmt.Sprintf("refused to connect to %s: %s. If it is meant to be reached, start the server with --egress-allow %s/%d", name, e.What, e.Addr.WithZone(""), bits)
}

// New makes a guard that lets through the public internet and what allow covers.
func New(allow []netip.Prefix) *Guard {
	g := &Guard{
		table:     table(),
		global6:   netip.MustParsePrefix(globalUnicast6),
		nat64:     netip.MustParsePrefix(nat64),
		sixToFour: netip.MustParsePrefix(sixToFour),
	}
	for _, p := range allow {
		if p.IsValid() {
			g.allow = append(g.allow, plainPrefix(p))
		}
	}
	return g
}

// WithRootCAs returns a copy of the guard whose TLS connections trust these certificate authorities instead of the
// system's.
func (g *Guard) WithRootCAs(roots *x509.CertPool) *Guard {
	c := *g
	c.roots = roots
	return &c
}

// Check returns a *Refused when a must not be dialled, else nil.
func (g *Guard) Check(a netip.Addr) error { return g.check("", a) }

func (g *Guard) check(host string, a netip.Addr) error {
	if !a.IsValid() {
		return &Refused{Host: host}
	}
	a = plain(a)
	if g.allowed(a) {
		return nil
	}
	if what := g.reserved(a); what != "" {
		return &Refused{Host: host, Addr: a, What: "the address is special (" + what + ")"}
	}
	inner, ok := g.embedded(a)
	if !ok || g.allowed(inner) {
		return nil
	}
	if what := g.reserved(inner); what != "" {
		return &Refused{Host: host, Addr: a, What: "the address leads to the special address " + inner.String() + " (" + what + ")"}
	}
	return nil
}

// Dialer returns a dialer whose every connection is checked. Don't change its Control.
func (g *Guard) Dialer() *net.Dialer { return g.dialer("") }

func (g *Guard) dialer(host string) *net.Dialer {
	return &net.Dialer{
		Timeout:  dialTimeout,
		Resolver: g.resolver,
		// Control runs between the making of the socket and its connect, with the resolved address.
		Control: func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return &Refused{Host: host} // a Unix socket's path, for one
			}
			return g.check(host, ap.Addr())
		},
	}
}

// DialContext connects like net.Dialer's, or fails with a *Refused in its chain.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &Refused{Host: address}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is no host and port: %w", address, err)
	}
	return g.dialer(host).DialContext(ctx, network, address)
}

// TLSConfig is the client configuration for a TLS connection to host: at least TLS 1.2, certificates verified.
func (g *Guard) TLSConfig(host string) *tls.Config {
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: g.roots}
}
