package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// follower reads a stream's messages in order from its block files, which hold a message before its sender is told so. To have them sent by
// JetStream takes several times as long: it reads the same files, and passes each message through two connections.
type follower struct {
	dir  string
	file *os.File // nil before the first message
	// index is the block's number, read what was read of it up to at, of which begin is the next record.
	index uint32
	read  []byte
	begin int
	at    int64
}

// stored is a message as it stands in a block.
type stored struct {
	seq     uint64
	index   uint32 // of the block
	raw     []byte // the record; good until the next one is read
	message []byte
}

const (
	followChunk = 256 << 10
	maxRecord   = MaxPayload + 64<<10
)

// errElsewhere: the files do not show the message, or something that this program does not make. JetStream has to make sense of them.
var errElsewhere = errors.New("the message cannot be read from the files")

func (f *follower) close() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

// next gives the first message at or behind a number, which has to be in the log already. Messages are asked for in order.
func (f *follower) next(from uint64) (stored, error) {
	searched := false
	for {
		if f.file == nil {
			if searched {
				return stored{}, errElsewhere
			}
			if err := f.find(from); err != nil {
				return stored{}, err
			}
			searched = true
		}
		s, err := f.record()
		switch {
		case errors.Is(err, io.EOF):
			if err := f.advance(); err != nil {
				return stored{}, err
			}
		case err != nil:
			return stored{}, err
		case s.seq&(erasedBit|tombstoneBit) == 0 && s.seq >= from:
			return s, nil
		}
	}
}

func (f *follower) open(index uint32) error {
	f.close()
	file, err := os.Open(filepath.Join(f.dir, strconv.FormatUint(uint64(index), 10)+blockSuffix))
	if err != nil {
		return err
	}
	f.file, f.index, f.read, f.begin, f.at = file, index, f.read[:0], 0, 0
	return nil
}

// advance goes on with the block behind the one that has ended. If there is none the file was replaced, and the place has to be found again.
func (f *follower) advance() error {
	err := f.open(f.index + 1)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// find opens the block that a message is in: the last one that begins at or before it. Mostly that is one of the last two.
func (f *follower) find(seq uint64) error {
	blocks, err := blockNumbers(f.dir)
	if err != nil {
		return err
	}
	low, high := 0, len(blocks)
	for tries := 1; low < high; tries++ {
		middle := (low + high) / 2
		if tries <= 2 {
			middle = high - 1
		}
		first, err := f.first(blocks[middle])
		if errors.Is(err, errElsewhere) && middle == len(blocks)-1 {
			first, err = 1<<64-1, nil // its first record is still being written: what is looked for is before it
		}
		if err != nil {
			return err
		}
		if first <= seq {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if len(blocks) == 0 {
		return errElsewhere
	}
	return f.open(blocks[max(low, 1)-1])
}

// first is the number of a block's first message, or a number that no message has when there is none yet.
func (f *follower) first(index uint32) (uint64, error) {
	if err := f.open(index); err != nil {
		return 0, err
	}
	s, err := f.record()
	switch {
	case errors.Is(err, io.EOF):
		return 1<<64 - 1, nil
	case err == nil && s.seq&(erasedBit|tombstoneBit) != 0:
		err = errElsewhere
	}
	return s.seq, err
}

// blockNumbers are the numbers of a stream's blocks, in order.
func blockNumbers(dir string) (numbers []uint32, err error) {
	blocks, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		name := b.Name()
		if filepath.Ext(name) != blockSuffix {
			continue
		}
		n, err := strconv.ParseUint(name[:len(name)-len(blockSuffix)], 10, 32)
		if err != nil {
			continue
		}
		numbers = append(numbers, uint32(n))
	}
	slices.Sort(numbers)
	return numbers, nil
}

// record reads the next record, io.EOF at the end of the block.
func (f *follower) record() (stored, error) {
	header, err := f.bytes(recordHeader)
	if err != nil {
		return stored{}, err
	}
	length, subject := int(binary.LittleEndian.Uint32(header)), int(binary.LittleEndian.Uint16(header[20:]))
	before := recordHeader + subject
	if length > maxRecord || length < before+recordHash { // one with headers has the highest bit set, and is too long
		return stored{}, errElsewhere
	}
	raw, err := f.bytes(length)
	if err != nil {
		return stored{}, err
	}
	f.begin += length
	return stored{seq: binary.LittleEndian.Uint64(raw[4:]), index: f.index, raw: raw, message: raw[before : length-recordHash]}, nil
}

// bytes gives the next n bytes and stays before them. It ends with io.EOF where nothing more is written.
func (f *follower) bytes(n int) ([]byte, error) {
	for len(f.read)-f.begin < n {
		if f.begin > 0 {
			f.read = f.read[:copy(f.read, f.read[f.begin:])]
			f.begin = 0
		}
		if cap(f.read) < n {
			f.read = slices.Grow(f.read, max(n, followChunk)-len(f.read))
		}
		k, err := f.file.ReadAt(f.read[len(f.read):cap(f.read)], f.at)
		f.read, f.at = f.read[:len(f.read)+k], f.at+int64(k)
		if err != nil && len(f.read) < n {
			if errors.Is(err, io.EOF) && len(f.read) > 0 {
				return nil, errElsewhere
			}
			return nil, err
		}
	}
	return f.read[f.begin : f.begin+n], nil
}

// intact says whether a record is what JetStream has written.
func (s stored) intact(stream string) error {
	if _, err := newBlockHash(stream, s.index).readRecord(s.raw); err != nil {
		return fmt.Errorf("block %d: %w", s.index, err)
	}
	return nil
}
