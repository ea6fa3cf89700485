// Package postgres is the provider of both seams of package store for a fleet: events and catalog in one PostgreSQL database, of which any number
// of processes may be users. It needs PostgreSQL 15 or later, and uses TimescaleDB where the server has it.
//
// A commit is one transaction, which begins with the compare-and-swap of its partition's offset: that row is what two workers that both believe to own a
// partition meet at. Events and rollups are copied, all else goes by one statement for each kind. Rollups are stored as commits bring them,
// partial rows of minutes, and merged, by way of a staging table, into minutes, hours and days in the background, by whichever process holds the advisory lock for it.
//
// Row-level security is a second wall behind the tenant argument. Nobody acts as the login: each transaction takes on the role pulsestream_tenant, for
// which the database shows rows of one tenant only, whatever a statement forgets, or pulsestream_installation, which spans tenants.
//
//	open.go       connecting, closing; explain.go: what is wrong with the settings, in a line
//	migrate.go    the schema and its roles, under an advisory lock; migrations/: its steps
//	session.go    transactions with their roles; errors.go: what the server's errors mean
//	commit.go     a commit; copy.go: COPY; alerts.go, quarantine.go: the alerts' side of it
//	events.go     reading events; where.go: predicates
//	rollups.go    reading rollups; grouping.go: merging them; compact.go: in the database
//	layout.go     events divided by days; timescale.go: by TimescaleDB
//	maintain.go   what is done in the background
//	catalog.go    resources; queue.go: notifications
//	text.go       text that may hold zero bytes, in a database in which none may
//
// The reasons and the numbers are in docs/adr/0019-postgres.md.
package postgres
