package main

import (
	"strings"
	"testing"
)

func TestCommandsForFilesSayWhatToDoOfAFleet(t *testing.T) {
	const database = "postgres://user:secret@host/pulsestream"
	for name, run := range map[string]func() error{
		"backup": func() error { return (&backupCmd{Store: database, To: t.TempDir()}).Run(t.Context()) },
		"restore": func() error {
			return (&restoreCmd{Store: database, From: t.TempDir(), DataDir: t.TempDir()}).Run(t.Context())
		},
		"verify": func() error { return (&verifyCmd{Store: database}).Run(t.Context()) },
	} {
		if err := run(); err == nil || !strings.HasPrefix(err.Error(), name) || !strings.Contains(err.Error(), "docs/operations.md") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s says %v", name, err)
		}
	}
}
