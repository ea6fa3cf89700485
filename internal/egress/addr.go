package egress

import (
	"encoding/binary"
	"net/netip"
)

// The special-purpose address blocks of IANA's registries that are no place of the public internet, by what they are.
// Cloud metadata services live in some of them: 169.254.169.254 and fe80::a9fe:a9fe (link-local), 100.100.100.200
// (shared), 192.0.0.192 (protocol assignments), fd00:ec2::254 and fd20:ce::254 (unique local).
var special = []block{
	{"0.0.0.0/8", "this network, which reaches the machine itself"},
	{"10.0.0.0/8", "private"},
	{"100.64.0.0/10", "shared address space of carriers (CGNAT) and clouds"},
	{"127.0.0.0/8", "loopback"},
	{"168.63.129.16/32", "Azure's metadata service"},
	{"169.254.0.0/16", "link-local, where cloud metadata services are"},
	{"172.16.0.0/12", "private"},
	{"192.0.0.0/24", "reserved for protocols"},
	{"192.0.2.0/24", "documentation"},
	{"192.88.99.0/24", "6to4 relays"},
	{"192.168.0.0/16", "private"},
	{"198.18.0.0/15", "benchmarking"},
	{"198.51.100.0/24", "documentation"},
	{"203.0.113.0/24", "documentation"},
	{"224.0.0.0/4", "multicast"},
	{"240.0.0.0/4", "reserved or broadcast"},

	{"::/128", "unspecified, which reaches the machine itself"},
	{"::1/128", "loopback"},
	{"64:ff9b:1::/48", "local translation to IPv4"},
	{"100::/64", "discard"},
	{"2001::/32", "Teredo tunnels"},
	{"2001:2::/48", "benchmarking"},
	{"2001::/23", "reserved for protocols"},
	{"2001:db8::/32", "documentation"},
	{"3fff::/20", "documentation"},
	{"5f00::/16", "segment routing"},
	{"fc00::/7", "unique local"},
	{"fe80::/10", "link-local"},
	{"fec0::/10", "site-local"},
	{"ff00::/8", "multicast"},
}

type block struct{ prefix, what string }

// globalUnicast6 is all that IANA has given out as public IPv6: what lies outside is not on the internet, whatever it may
// become. nat64 lies outside, and is how an IPv6-only network reaches public IPv4.
const (
	globalUnicast6 = "2000::/3"
	nat64          = "64:ff9b::/96"
	sixToFour      = "2002::/16"
)

type classified struct {
	prefix netip.Prefix
	what   string
}

// table is special, parsed.
func table() []classified {
	out := make([]classified, len(special))
	for i, b := range special {
		out[i] = classified{netip.MustParsePrefix(b.prefix), b.what}
	}
	return out
}

// reserved says what kind of special address a is; empty for one of the public internet. It looks at a's own bits only.
func (g *Guard) reserved(a netip.Addr) string {
	for _, c := range g.table {
		if c.prefix.Contains(a) {
			return c.what
		}
	}
	if a.Is6() && !g.global6.Contains(a) && !g.nat64.Contains(a) {
		return "not a public IPv6 address"
	}
	return ""
}

// embedded returns the IPv4 address that a gateway or tunnel would take out of an IPv6 address.
func (g *Guard) embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch isatap := binary.BigEndian.Uint32(b[8:12]) &^ 0x02000000; {
	case g.nat64.Contains(a), isatap == 0x00005efe:
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case g.sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

func (g *Guard) allowed(a netip.Addr) bool {
	for _, p := range g.allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// plain is the one form in which addresses are compared: IPv4 in IPv6 unpacked, no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// plainPrefix is the same for a prefix.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}
