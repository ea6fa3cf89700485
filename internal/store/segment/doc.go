// Package segment holds events as the embedded store keeps them: a Tail in memory, to which commits add, and segments, which are
// sealed tails: immutable files in which rows are sorted by tenant, type and time and stored by column.
//
//	tail.go    rows in memory, without pointers: adding, and reading those of one tenant
//	build.go   a tail becomes a segment
//	layout.go  what a segment's file looks like; its directory
//	file.go    opening a segment, by package pieces
//	block.go   a block's rows: up to blockRows of one tenant, whose columns are decoded when they are asked for
//	ids.go     in which blocks an id may be
//	filter.go  in which segments an id may be, of segments that earlier releases made
//
// A segment's file is
//
//	magic | columns of the blocks … | indexes of the tenants' ids … | directory | footer
//
// Each piece is followed by nothing and known by its place, its length and a checksum, which stand in the directory; the directory's own
// stand in the footer. Nothing is changed after the file was made: segments are merged by making a new one.
package segment
