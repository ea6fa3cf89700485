// Package duckdb is the Events store for one machine and one process: events in segments (package segment), all else in one DuckDB file beside them.
//
// A commit takes effect in memory, behind a compare-and-swap of the partition's offset, and is seen by readers at once. A flush writes what has been
// committed to disk as a whole: the events as a segment, and in one transaction of DuckDB the rollups, states, fills and offsets, and that the segment
// is part of the store. A process that dies goes back to the last flush. Rollups are written as partial rows of minutes, which are merged when they are read
// and, in the background, in the file, where hours and days are made of them. There is one writer at a time; readers
// have connections of their own and see whole commits only.
//
//	store.go      open, close, who may read and write when
//	schema.go     the tables; upgrade.go: those of the first release
//	commit.go     a commit; recent.go: what is in memory
//	flush.go      writing it to disk; partition.go, incidents.go, quarantine.go: the alerts' side of it
//	segments.go   which segments there are; merging small ones
//	events.go     pages, scans and single events, by package segment
//	rollups.go    reading rollups; young.go: those in memory; grouping.go: merging them
//	compact.go    merging them in the file; backlog.go: what there is to merge
//	maintain.go   when to compact, to merge segments, and to write the log into the file
//	scrub.go      looking for damage; room.go: never meeting a full disk
//	conn.go       DuckDB's C interface: statements, result.go: reading and append.go: writing its vectors in place
//	parquet.go    events to Parquet and back, for backups
//
// The numbers behind it are in docs/adr/0003-events-store.md and 0015-sealed-segments.md.
package duckdb
