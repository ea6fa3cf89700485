package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A log message is a frame: what is needed to see, whatever happened to the disk below, that the message is whole, who
// wrote it and as which of its own messages.
//
//	0  4  magic "PSL1"
//	4  4  CRC-32C of all that follows
//	8  8  producer: drawn at random each time a process opens the log
//	16 8  number: counts the producer's messages in this partition, from 1
//	24    payload
const (
	frameMagic  = "PSL1"
	frameHeader = 24
)

// ErrDamaged is returned for a log message that is not what was written.
var ErrDamaged = errors.New("damaged log message")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // the table is made once, by package crc32

func appendFrame(dst []byte, producer, number uint64, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, frameMagic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, producer)
	dst = binary.BigEndian.AppendUint64(dst, number)
	dst = append(dst, payload...)
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli()))
	return dst
}

func parseFrame(b []byte) (producer, number uint64, payload []byte, err error) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic {
		return 0, 0, nil, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	if binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli()) {
		return 0, 0, nil, fmt.Errorf("%w: the checksum differs", ErrDamaged)
	}
	return binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), b[frameHeader:], nil
}
