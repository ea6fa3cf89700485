package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestTheSettingsOfAFleetBelongTogether(t *testing.T) {
	const store, bus = "postgres://u:secret@db/pulse", "nats://u:secret@a:4222,tls://b"
	for name, at := range map[string]struct {
		s    Serve
		want string // "" is all right
	}{
		"alone":                    {Serve{Roles: []string{"all"}}, ""},
		"alone, all roles by name": {Serve{Roles: []string{"api", "worker", "ingest"}}, ""},
		"all of a fleet":           {Serve{Roles: []string{"all"}, Store: store, Bus: bus}, ""},
		"one role":                 {Serve{Roles: []string{"worker"}, Store: store, Bus: bus}, ""},
		"a mix of roles":           {Serve{Roles: []string{"ingest", "api"}, Store: store, Bus: bus}, ""},
		"one role alone":           {Serve{Roles: []string{"worker"}}, "--store postgres://"},
		"no role":                  {Serve{Store: store, Bus: bus}, "--roles is empty"},
		"no such role":             {Serve{Roles: []string{"cook"}, Store: store, Bus: bus}, "no such role"},
		"no log":                   {Serve{Roles: []string{"all"}, Store: store}, "--bus nats://"},
		"no store":                 {Serve{Roles: []string{"all"}, Bus: bus}, "--store postgres://"},
		"another store":            {Serve{Roles: []string{"all"}, Store: "mysql://u:secret@db/x", Bus: bus}, "postgres://USER"},
		"another log":              {Serve{Roles: []string{"all"}, Store: store, Bus: "kafka://u:secret@a"}, "nats://USER"},
		"half a log":               {Serve{Roles: []string{"all"}, Store: store, Bus: "nats://u:secret@a,"}, "nats://USER"},
		"half a certificate":       {Serve{Roles: []string{"all"}, Store: store, Bus: bus, BusCert: "fleet_test.go"}, "--bus-key"},
		"a file that is not there": {Serve{Roles: []string{"all"}, Store: store, Bus: bus, BusCreds: filepath.Join(t.TempDir(), "none")}, "--bus-creds"},
	} {
		at.s.DataDir, at.s.Listen, at.s.Partitions = "d", "127.0.0.1:0", 4
		err := at.s.Check()
		if at.want == "" && err != nil || at.want != "" && (err == nil || !strings.Contains(err.Error(), at.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: it shows a password, or says more than a line: %v", name, err)
		}
	}
}
