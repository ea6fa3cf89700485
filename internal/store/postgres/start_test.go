package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/postgres"
)

// wrong is a URL with something about it changed.
func wrong(t *testing.T, from string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

func whatIsWrongIsSaidInALineThatHelps(t *testing.T, r *rig) {
	good := r.Database(t)
	u, _ := url.Parse(good)
	secret, _ := u.User.Password()
	if err := r.Exec(t.Context(), "postgres", `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER pulsestream`,
		`CREATE ROLE guest LOGIN PASSWORD 'guest'`, `GRANT pulsestream_tenant, pulsestream_installation TO guest`, `CREATE ROLE humble LOGIN PASSWORD 'humble'`, `CREATE DATABASE humble OWNER humble`); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, says string }{
		"no such database":     {wrong(t, good, func(u *url.URL) { u.Path = "/nowhere" }), `has no database "nowhere": CREATE DATABASE "nowhere" OWNER "pulsestream"`},
		"wrong password":       {wrong(t, good, func(u *url.URL) { u.User = url.UserPassword("pulsestream", "swordfish") }), `does not let "pulsestream" in: check user and password`},
		"no such user":         {wrong(t, good, func(u *url.URL) { u.User = url.UserPassword("nobody", "swordfish") }), `does not let "nobody" in: check user and password`},
		"no server":            {wrong(t, good, func(u *url.URL) { u.Host = "127.0.0.1:9" }), `no PostgreSQL answers at 127.0.0.1:9: start it, or check host`},
		"no such host":         {wrong(t, good, func(u *url.URL) { u.Host = "no.such.host.invalid" }), `no.such.host.invalid`},
		"no URL":               {"host=127.0.0.1 password=swordfish", `cannot be read: give it as postgres://`},
		"a URL that is broken": {"postgres://user:sword%fish@host/db", `cannot be read: give it as postgres://`},
		"no TLS":               {good + "?sslmode=require", `no PostgreSQL answers at`},
		"missing rights":       {wrong(t, good, func(u *url.URL) { u.User = url.UserPassword("guest", "guest") }), `"guest" lacks rights in database`}, // it has the roles
		"another encoding":     {wrong(t, good, func(u *url.URL) { u.Path = "/latin" }), `the database's encoding is LATIN1: make one with ENCODING 'UTF8'`},
		"no right to the roles": {wrong(t, good, func(u *url.URL) { u.Path, u.User = "/humble", url.UserPassword("humble", "humble") }),
			`GRANT pulsestream_tenant, pulsestream_installation TO "humble"`},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := postgres.Open(t.Context(), postgres.Config{URL: c.url})
			if err == nil {
				_ = db.Close()
				t.Fatal("it was opened")
			}
			text := err.Error()
			if !strings.Contains(text, c.says) || strings.Contains(text, "\n") {
				t.Errorf("it says %q, want %q in one line", text, c.says)
			}
			for _, p := range []string{secret, "swordfish", "sword%fish"} {
				if strings.Contains(text, p) {
					t.Errorf("it has the password in it: %s", text)
				}
			}
		})
	}
}

// Where the login may not make roles, somebody else has made them.
func aHumbleLoginUsesRolesThatAreThere(t *testing.T, r *rig) {
	if err := r.Exec(t.Context(), "postgres", `CREATE ROLE modest LOGIN PASSWORD 'modest'`, `CREATE DATABASE modest OWNER modest`,
		`GRANT pulsestream_tenant, pulsestream_installation TO modest`); err != nil {
		t.Fatal(err)
	}
	db := open(t, wrong(t, r.empty, func(u *url.URL) { u.Path, u.User = "/modest", url.UserPassword("modest", "modest") }), brief)
	put(t, db, "acme", "rule")
}

func manyProcessesMayStartAtOnce(t *testing.T, r *rig) {
	fresh := r.Database(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			db, err := postgres.Open(context.WithoutCancel(t.Context()), postgres.Config{URL: fresh, Keep: 1})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := db.Catalog().Revision(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func aNewerSchemaIsLeftAlone(t *testing.T, r *rig) {
	fresh := r.Clone(t, r.empty)
	u, _ := url.Parse(fresh)
	if err := r.Exec(t.Context(), strings.TrimPrefix(u.Path, "/"), `INSERT INTO pulsestream.schema_migrations (version, name) VALUES (1000, 'of the future')`); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), postgres.Config{URL: fresh})
	if err == nil {
		_ = db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "run the newer release") {
		t.Errorf("a schema of the future: %v", err)
	}
}

func whichLayoutIsInUseIsSaid(t *testing.T, r *rig) {
	db := r.fresh(t)
	if db.Layout() != postgres.Native || !strings.HasPrefix(db.Server(), "1") {
		t.Errorf("layout %q of server %q", db.Layout(), db.Server())
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if s := fmt.Sprint(db.Layout()); s != "daily partitions" {
		t.Errorf("an operator reads %q", s)
	}
}
