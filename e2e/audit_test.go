package e2e

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// actions are what the entries say was done, oldest first.
func actions(t *testing.T, l *client.AuditLog, q client.AuditQuery) string {
	t.Helper()
	var all []string
	for {
		entries, next, err := l.Entries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append([]string{e.Action + " " + e.Target.Slug}, all...)
		}
		if q.Cursor = next; next == "" {
			return strings.Join(all, ", ")
		}
	}
}

func TestChangesAreInTheAuditLogAndACopyOfItCanBeVerified(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, key, err := s.PutTenant(t.Context(), client.Tenant{ID: "acme", Name: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	acme := client.New(s.url, key.Secret)
	const secret = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0"
	if _, err := acme.PutSource(t.Context(), "stripe", "stripe", secret); err != nil {
		t.Fatal(err)
	}
	metric := client.Metric{Slug: "orders", EventTypes: []string{"order"}}
	for _, name := range []string{"Orders", "All orders"} {
		metric.Name = name
		if _, err := acme.PutMetric(t.Context(), metric); err != nil {
			t.Fatal(err)
		}
	}
	viewer, err := acme.MakeKey(t.Context(), "looker", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	if err := acme.RevokeKey(t.Context(), viewer.ID); err != nil {
		t.Fatal(err)
	}
	log := acme.Audit()
	if got := actions(t, log, client.AuditQuery{Target: "metric/orders", Limit: 1}); got != "metric.put orders, metric.put orders" {
		t.Errorf("of the metric it says: %s", got)
	}
	keys, _, err := log.Entries(t.Context(), client.AuditQuery{Target: "key/" + viewer.ID})
	if err != nil || len(keys) != 2 || keys[0].Action != "key.revoke" || keys[1].Action != "key.make" {
		t.Fatalf("of the key it says: %+v, %v", keys, err)
	}
	own, err := acme.Keys(t.Context())
	if err != nil || len(own) != 1 {
		t.Fatal(own, err)
	}
	for _, e := range keys {
		if e.Actor.Subject != "key:"+own[0].ID || e.Actor.Address != "127.0.0.1" || e.RequestID == "" || e.Actor.UserAgent == "" {
			t.Errorf("%s was done by %+v with request %q, want %s", e.Action, e.Actor, e.RequestID, own[0].ID)
		}
	}
	if first, _, err := log.Entries(t.Context(), client.AuditQuery{Action: "tenant.put"}); err != nil || len(first) != 1 || first[0].Actor != (client.Actor{Subject: "operator"}) {
		t.Errorf("of the operator the tenant is told %+v, %v", first, err)
	}
	if got := actions(t, s.InstallationAudit(), client.AuditQuery{Target: "tenant"}); got != "tenant.put default, tenant.put acme" {
		t.Errorf("of tenants the installation's log says: %s", got)
	}
	_, _, err = acme.InstallationAudit().Entries(t.Context(), client.AuditQuery{})
	wantStatus(t, "the installation's log for a tenant's owner", err, http.StatusForbidden)

	noted, err := log.Verify(t.Context(), client.AuditHead{})
	if err != nil || !noted.OK || len(noted.Broken) > 0 || noted.Entries != noted.Head.Seq {
		t.Fatalf("%+v, %v", noted, err)
	}
	var copied bytes.Buffer
	if err := log.Export(t.Context(), &copied, "ndjson", time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if text := copied.String(); strings.Contains(text, secret) || strings.Contains(text, "ps_") || strings.Count(text, "\n") != int(noted.Entries)+1 {
		t.Errorf("the export has %d lines, or a secret:\n%s", strings.Count(text, "\n"), text)
	}
	verify := func(content []byte) (string, bool) {
		file := filepath.Join(t.TempDir(), "audit.ndjson")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), os.Getenv(binaryVariable), "audit", "verify", file).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := verify(copied.Bytes()); !ok || !strings.Contains(out, "the chain of acme, 1 to ") {
		t.Errorf("the copy as it is: %s", out)
	}
	if out, ok := verify(bytes.Replace(copied.Bytes(), []byte("looker"), []byte("loader"), 1)); ok || !strings.Contains(out, "not as it was written") {
		t.Errorf("the copy with another name in it: %s", out)
	}
	if rows, err := csv.NewReader(exported(t, log, "csv")).ReadAll(); err != nil || len(rows) != int(noted.Entries)+3 {
		t.Errorf("as CSV: %d rows, %v", len(rows), err)
	}

	// A stop writes when keys were used; and what was noted is still so in the server's next life.
	s.stop()
	s.start()
	acme = client.New(s.url, key.Secret)
	if r, err := acme.Audit().Verify(t.Context(), noted.Head); err != nil || !r.OK {
		t.Errorf("after a restart: %+v, %v", r, err)
	}
	noted.Head.Hash = strings.Repeat("0", 64)
	if r, err := acme.Audit().Verify(t.Context(), noted.Head); err != nil || r.OK {
		t.Errorf("with another hash noted: %+v, %v", r, err)
	}
	own, err = acme.Keys(t.Context())
	if err != nil || len(own) != 1 || own[0].UsedAt == nil || time.Since(*own[0].UsedAt) > time.Minute {
		t.Errorf("keys were used %+v, %v", own, err)
	}
}

func exported(t *testing.T, l *client.AuditLog, format string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	if err := l.Export(t.Context(), &b, format, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return &b
}
