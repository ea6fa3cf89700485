// Package duckdb is the Events store for one machine and one process: events in segments (package segment), rollups in files like them (package rollup), all
// else in one small DuckDB file beside them.
//
// A commit takes effect in memory, behind a compare-and-swap of the partition's offset, and is seen by readers at once. A flush writes what has been
// committed to disk as a whole: the events as a segment, the rollups of minutes as a file of rollups, and in one transaction of DuckDB the states, fills and
// offsets, and that the two files are part of the store. A process that dies goes back to the last flush. Small files are merged in the background; hours
// and days are made of minutes then. There is one writer at a time; readers see whole commits only.
//
//	store.go      open, close, who may read and write when
//	schema.go     the tables; upgrade.go: those of earlier releases
//	commit.go     a commit; recent.go: what is in memory
//	flush.go      writing it to disk; partition.go, incidents.go, quarantine.go: the alerts' side of it
//	files.go      which sealed files there are, and which of them are merged
//	segments.go   making and merging segments; events.go: pages, scans and single events
//	rollups.go    making, merging and reading files of rollups
//	maintain.go   when to merge files, and to write the log into the file
//	scrub.go      looking for damage; room.go: never meeting a full disk
//	conn.go       DuckDB's C interface: statements, result.go: reading and append.go: writing its vectors in place
//	parquet.go    events to Parquet and back, for backups
//
// The numbers behind it are in docs/adr/0003-events-store.md, 0015-sealed-segments.md and 0023-sealed-rollups.md.
package duckdb
