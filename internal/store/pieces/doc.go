// Package pieces keeps files that are written once and then read piece by piece: what segments of events and files of rollups have in common.
//
// A file is there as a whole, on disk, or not at all. It begins with a magic text, has pieces, a directory of them, and ends with where the
// directory stands, its checksum, and the magic text again. Every piece has a checksum of its own in the directory. An open file
// is read by any number of goroutines, and closed, and removed if that was asked for, when its last user is done.
package pieces

import (
	"errors"
	"hash/crc32"
)

// ErrDamaged is for a file that is not what was written, ErrUnreadable for one that the operating system does not let us read.
var (
	ErrDamaged    = errors.New("the file is damaged")
	ErrUnreadable = errors.New("the file cannot be read")
)

// MagicSize is how many bytes a magic text has.
const MagicSize = 8

// FooterSize is how many bytes stand behind the directory: its place, its length, its checksum, and the magic text.
const FooterSize = 8 + 4 + 4 + MagicSize

// Place is where a piece stands in its file.
type Place struct {
	Off int64
	Len uint32
	CRC uint32
}

// Checksum is what a piece is told by from a damaged one.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
