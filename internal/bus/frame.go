package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/s2"
)

// A log message is a frame: what is needed to see, whatever happened to the disk below, that the message is whole, who
// wrote it and as which of its own messages. It says its own length, so that it can be found between damaged bytes.
//
//	0  4  magic "PSL2"
//	4  4  CRC-32C of all that follows, to the end of what is stored
//	8  4  length of what is stored
//	12 4  length of the payload
//	16 1  flags: 1 the payload is stored compressed with S2, 2 the frame stands for messages that are lost
//	17 1  zero
//	18 2  partition
//	20 8  producer: drawn at random each time a process opens the log
//	28 8  number: counts the producer's messages in this partition, from 1
//	36    what is stored
const (
	frameMagic    = "PSL2"
	frameHeader   = 36
	flagS2        = 1
	flagLost      = 2
	compressAbove = 256 // bytes; below, the frame outweighs what could be saved
)

// Errors of a message.
var (
	// ErrDamaged: a log message is not what was written.
	ErrDamaged = errors.New("damaged log message")
	// ErrLost: messages that were in the log are gone; see Losses.
	ErrLost = errors.New("lost log messages")
	// ErrTooLarge: a payload is larger than MaxPayload.
	ErrTooLarge = errors.New("larger than a log message may be")
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // the table is made once, by package crc32

// frame is one log message as it is stored.
type frame struct {
	partition int
	producer  uint64
	number    uint64
	flags     byte
	size      int    // of the payload
	stored    []byte // the payload, compressed if the flags say so
}

// appendFrame appends the frame of a payload.
func appendFrame(dst []byte, partition int, producer, number uint64, payload []byte) []byte {
	f := frame{partition: partition, producer: producer, number: number, size: len(payload), stored: payload}
	if len(payload) < compressAbove {
		return f.append(dst)
	}
	// It is compressed into its place, behind where the header will be.
	start := len(dst)
	dst = slices.Grow(dst, frameHeader+s2.MaxEncodedLen(len(payload)))
	packed := s2.Encode(dst[start+frameHeader:cap(dst)], payload)
	if len(packed) >= len(payload)-len(payload)/8 {
		return f.append(dst)
	}
	f.flags, f.stored = flagS2, packed
	return f.append(dst)
}

func (f frame) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, frameMagic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.stored))) //nolint:gosec // at most MaxPayload
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.size))        //nolint:gosec // at most MaxPayload
	dst = append(dst, f.flags, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.partition)) //nolint:gosec // Open bounds the number of partitions
	dst = binary.BigEndian.AppendUint64(dst, f.producer)
	dst = binary.BigEndian.AppendUint64(dst, f.number)
	if n := len(dst); len(f.stored) > 0 && len(f.stored) <= cap(dst)-n && &f.stored[0] == &dst[:n+1][n] {
		dst = dst[:n+len(f.stored)] // it was compressed there
	} else {
		dst = append(dst, f.stored...)
	}
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli()))
	return dst
}

// readFrame reads the frame that b begins with; length is all of its bytes.
func readFrame(b []byte) (f frame, length int, err error) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic {
		return f, 0, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	stored := int(binary.BigEndian.Uint32(b[8:]))
	if stored > MaxPayload || stored > len(b)-frameHeader {
		return f, 0, fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	length = frameHeader + stored
	if binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:length], castagnoli()) {
		return f, 0, fmt.Errorf("%w: the checksum differs", ErrDamaged)
	}
	return frame{
		partition: int(binary.BigEndian.Uint16(b[18:])), producer: binary.BigEndian.Uint64(b[20:]), number: binary.BigEndian.Uint64(b[28:]),
		flags: b[16], size: int(binary.BigEndian.Uint32(b[12:])), stored: b[frameHeader:length],
	}, length, nil
}

// unpack is what was appended, put into buf if it has to be decompressed and fits. It may be part of the bytes that the frame was read from.
func (f frame) unpack(buf []byte) ([]byte, error) {
	if f.flags&flagS2 == 0 {
		return f.stored, nil
	}
	// A length that lies must not make us allocate: whoever can write to the log could send a bomb.
	if n, err := s2.DecodedLen(f.stored); err != nil || n != f.size || n > MaxPayload {
		return nil, fmt.Errorf("%w: its payload would have %d bytes, not %d", ErrDamaged, n, f.size)
	}
	payload, err := s2.Decode(buf[:cap(buf)], f.stored)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return payload, nil
}

// lostFrame stands in the log for the messages from to to, which are gone. Its own sequence number is to.
func lostFrame(partition int, from, to uint64, reason string) []byte {
	stored := binary.BigEndian.AppendUint64(nil, from)
	stored = binary.BigEndian.AppendUint64(stored, to)
	stored = append(stored, reason...)
	return frame{partition: partition, flags: flagLost, size: len(stored), stored: stored}.append(nil)
}

// lost says which messages the frame stands for, if it is such a frame.
func (f frame) lost() (from, to uint64, reason string, ok bool) {
	if f.flags&flagLost == 0 || len(f.stored) < 16 {
		return 0, 0, "", false
	}
	return binary.BigEndian.Uint64(f.stored), binary.BigEndian.Uint64(f.stored[8:]), string(f.stored[16:]), true
}

// findFrame looks for the next whole frame in b, anywhere.
func findFrame(b []byte) (at int, f frame, length int, ok bool) {
	for at = 0; ; at += len(frameMagic) {
		i := bytes.Index(b[at:], []byte(frameMagic))
		if i < 0 {
			return 0, frame{}, 0, false
		}
		at += i
		if f, length, err := readFrame(b[at:]); err == nil {
			return at, f, length, true
		}
	}
}
