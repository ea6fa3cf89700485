package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyThePublicInternetMayBeDialled(t *testing.T) {
	public := []string{
		"1.1.1.1", "8.8.8.8", "93.184.215.14", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.167.255.255", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
		"2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2620:fe::fe",
		"::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:0101:0101::1", "2a00:1450::5efe:101:101",
	}
	refused := []string{
		// IPv4
		"0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.170.2", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
		"192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
		"240.0.0.1", "255.255.255.255",
		// IPv6
		"::", "::1", "fe80::1", "fe80::1%eth0", "fe80::a9fe:a9fe", "febf::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "ff02::1",
		"ff0e::1", "100::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "5f00::1", "4000::1", "1::1", "64:ff9b:1::1",
		// IPv4 inside IPv6
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::127.0.0.1", "::ffff:100.64.0.1",
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::192.168.1.1",
		"2002:7f00:0001::1", "2002:0a00:0001::", "2002:a9fe:a9fe::1", "2002:c0a8:0101::1",
		"2001:0:7f00:1::", "2001:0000:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e378:8000:63bf:80ff:fffe",
		"2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:a00:1",
	}
	g := New(nil)
	for _, s := range public {
		if err := g.Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range refused {
		var r *Refused
		if err := g.Check(netip.MustParseAddr(s)); !errors.As(err, &r) {
			t.Errorf("%s may be dialled: %v", s, err)
		}
	}
	if g.Check(netip.Addr{}) == nil {
		t.Error("no address at all may be dialled")
	}
}

func TestAllowedPrefixesOpenWhatTheyCoverAndNoMore(t *testing.T) {
	for _, c := range []struct {
		allow string
		yes   []string
		no    []string
	}{
		{"10.1.0.0/16", []string{"10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:0a01:0001::1"}, []string{"10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1"}},
		{"127.0.0.1/32", []string{"127.0.0.1"}, []string{"127.0.0.2", "::1", "0.0.0.0"}},
		{"::ffff:10.0.0.0/104", []string{"10.9.9.9"}, []string{"172.16.0.1"}},
		{"10.1.2.3/8", []string{"10.200.0.1"}, []string{"172.16.0.1"}}, // host bits set
		{"fd00::/8", []string{"fd12::1"}, []string{"fc00::1", "fe80::1", "10.0.0.1"}},
		{"fe80::/10", []string{"fe80::1%eth0"}, []string{"::1"}},
		{"0.0.0.0/0", []string{"127.0.0.1", "10.0.0.1", "169.254.169.254"}, []string{"::1"}},
		{"::/0", []string{"::1", "fd00::1"}, []string{"127.0.0.1"}},
	} {
		g := New([]netip.Prefix{netip.MustParsePrefix(c.allow), {}})
		for _, s := range c.yes {
			if err := g.Check(netip.MustParseAddr(s)); err != nil {
				t.Errorf("with %s: %v", c.allow, err)
			}
		}
		for _, s := range c.no {
			if g.Check(netip.MustParseAddr(s)) == nil {
				t.Errorf("with %s, %s may be dialled", c.allow, s)
			}
		}
	}
}

func TestRefusalSaysWhatItIsAndWhatToDo(t *testing.T) {
	g := New(nil)
	for addr, want := range map[string]string{
		"10.0.0.5":           "refused to connect to db.internal (10.0.0.5): the address is special (private). If it is meant to be reached, start the server with --egress-allow 10.0.0.5/32",
		"fd00::1":            "--egress-allow fd00::1/128",
		"64:ff9b::127.0.0.1": "leads to the special address 127.0.0.1 (loopback)",
		"169.254.169.254":    "cloud metadata",
	} {
		if err := g.check("db.internal", netip.MustParseAddr(addr)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func FuzzEmbeddedAddressesAreNoWayRound(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte{10, 1, 2, 3})
	g := New(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			t.Skip()
		}
		inner := netip.AddrFrom4([4]byte(b))
		if g.Check(inner) == nil {
			t.Skip()
		}
		mapped := inner.As16()
		wkp := netip.MustParseAddr("64:ff9b::").As16()
		copy(wkp[12:], b)
		six := netip.MustParseAddr("2002::1").As16()
		copy(six[2:], b)
		for _, a := range [][16]byte{mapped, wkp, six} {
			if g.Check(netip.AddrFrom16(a)) == nil {
				t.Errorf("%s may be dialled", netip.AddrFrom16(a))
			}
		}
	})
}
