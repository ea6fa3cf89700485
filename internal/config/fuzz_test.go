package config

import (
	"net"
	"net/url"
	"strings"
	"testing"
)

// FuzzValidate: settings that are taken can be used, and what is wrong with others is said without the password that stands in them.
func FuzzValidate(f *testing.F) {
	f.Add("127.0.0.1:8080", "", "", "", "10.0.0.0/8", "https://pulse.example.com")
	f.Add("nowhere", "postgres://user:hunter2hunter2@db/pulse", "nats://:hunter2hunter2@[::1", "redis://x:hunter2hunter2@%zz", "10.0.0.1", "ftp://x")
	f.Add("[::1]:0", "events.duckdb", "", "", "fe80::1%eth0/64", "http://:80")
	f.Fuzz(func(t *testing.T, listen, store, bus, redis, egress, public string) {
		s := Serve{DataDir: "d", Listen: listen, Roles: []string{"all"}, Store: store, Bus: bus, Redis: redis, EgressAllow: []string{egress}, PublicURL: public, Partitions: 4}
		err := s.Check()
		if err == nil {
			if _, _, e := net.SplitHostPort(s.Listen); e != nil {
				t.Fatalf("%q is taken: %v", listen, e)
			}
			if _, e := s.Egress(); e != nil {
				t.Fatalf("%q is taken: %v", egress, e)
			}
			if postgres := strings.HasPrefix(store, "postgres"); strings.Contains(store, "://") != (bus != "") || strings.Contains(store, "://") && !postgres {
				t.Fatalf("half of a fleet is taken: %+v", s)
			}
			if u, e := url.Parse(redis); redis != "" && (e != nil || u.Hostname() == "") {
				t.Fatalf("%q is taken", redis)
			}
			return
		}
		if strings.Count(err.Error(), "hunter2hunter2") > strings.Count(listen+egress+public, "hunter2hunter2") && wellFormed(store) && wellFormed(bus) && wellFormed(redis) {
			t.Fatalf("a password is shown: %v", err)
		}
	})
}

// wellFormed says whether a password stands where a URL has it, or nowhere: elsewhere nobody can know that it is one.
func wellFormed(s string) bool {
	before, rest, found := strings.Cut(s, "hunter2hunter2")
	return !found || strings.Contains(before, "://") && strings.HasSuffix(before, ":") && strings.HasPrefix(rest, "@") && !strings.ContainsAny(before[strings.Index(before, "://")+3:], "@/?#")
}
