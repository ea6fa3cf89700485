// Package duckdb is the Events store in one DuckDB file: for one machine and one process.
//
// Everything a commit brings is appended, in one transaction, behind a compare-and-swap of the partition's offset: rollups too, as partial
// rows, which are merged when they are read and, in the background, in the file. There is one writer at a time; readers
// have connections of their own and see whole commits only.
//
//	store.go      open, close, who may read and write when
//	schema.go     the tables
//	commit.go     a commit; partition.go, incidents.go: the alerts' side of it
//	events.go     pages and single events; scan.go: reading in log order, piece by piece (pace.go)
//	rollups.go    reading rollups; grouping.go: merging them
//	compact.go    merging them in the file; backlog.go: what there is to merge
//	maintain.go   when to compact and to write the log into the file
//	conn.go       DuckDB's C interface: statements, result.go: reading and append.go: writing its vectors in place
//
// The numbers behind it are in docs/adr/0003-events-store.md.
package duckdb
