// Package rollup keeps rollups in sealed files, beside the segments of events.
//
// A file (package pieces) is written once. It has blocks of up to 8192 rollups of one tenant, metric and step, in order of their starts; young files have
// minutes only, larger ones that were merged have the hours and days of just their own minutes as well. So each file answers for itself, and what several
// have of one step and series merges commutatively. A block's rows are sorted by series, and each column is encoded by package column: labels once for each
// series, then starts, counts and numbers. Sketches are pieces of their own, which questions about plain numbers never read.
//
//	layout.go   the directory; file.go: opening, checking
//	floats.go   columns of floating-point numbers
//	encode.go   a block to bytes; decode.go: back
//	sweep.go    merging rows by time and group, for whoever asks; cells.go: where they are meanwhile
//	read.go     a query; build.go: new files, of rollups or of other files
package rollup
