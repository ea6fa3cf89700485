package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// The high-water mark of a partition is the last message that was acknowledged. It is kept beside the log, so that a log that has become shorter
// is found to be so, even if the store had not come as far. The file has two slots, written in turn, so that one is
// whole whenever the machine stops:
//
//	0  4  magic "PSMK"
//	4  4  CRC-32C of all that follows
//	8  8  generation: the slot with the higher one counts
//	16 8  first message of the log
//	24 8  last message that was acknowledged
//	32 8  its number
//	40 1  1 after a clean stop: then first and last are exact
//	41 23 incarnation, padded with zeros
//
// It is not synced at each write: it survives a killed process by itself, and after a power cut it may be a second old, which only makes it promise less.
const (
	markMagic = "PSMK"
	markSlot  = 64
)

type position struct {
	incarnation string
	first, last uint64
	number      uint64
	clean       bool
}

// mark is the file of one partition's high-water mark.
type mark struct {
	mu         sync.Mutex
	file       *os.File
	generation uint64
	at         position
	dirty      bool
}

func markPath(guard string, p int) string {
	return filepath.Join(guard, "partition-"+strconv.Itoa(p)+".mark")
}

// readMark reads the newer slot. Damaged says that there is a file with a slot that is not what was written.
func readMark(path string) (at position, generation uint64, damaged bool, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return position{}, 0, false, nil
	}
	if err != nil {
		return position{}, 0, true, fmt.Errorf("read the high-water mark: %w", err)
	}
	damaged = len(b) != 2*markSlot
	for len(b) >= markSlot {
		slot := b[:markSlot]
		b = b[markSlot:]
		if string(slot[:4]) != markMagic || binary.BigEndian.Uint32(slot[4:]) != crc32.Checksum(slot[8:], castagnoli()) {
			damaged = true
			continue
		}
		if g := binary.BigEndian.Uint64(slot[8:]); g > generation {
			generation = g
			name := slot[41:]
			for len(name) > 0 && name[len(name)-1] == 0 {
				name = name[:len(name)-1]
			}
			at = position{incarnation: string(name), first: binary.BigEndian.Uint64(slot[16:]), last: binary.BigEndian.Uint64(slot[24:]),
				number: binary.BigEndian.Uint64(slot[32:]), clean: slot[40] == 1}
		}
	}
	return at, generation, damaged, nil
}

// openMark opens the file and writes both slots.
func openMark(path string, generation uint64, at position) (*mark, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the high-water mark: %w", err)
	}
	m := &mark{file: f, generation: generation, at: at}
	err = errors.Join(f.Truncate(2*markSlot), m.write(), m.write(), f.Sync(), syncDir(filepath.Dir(path)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the high-water mark: %w", err), f.Close())
	}
	m.dirty = false
	return m, nil
}

// write puts the position into the slot that is due.
func (m *mark) write() error {
	m.generation++
	slot := make([]byte, 8, markSlot)
	copy(slot, markMagic)
	slot = binary.BigEndian.AppendUint64(slot, m.generation)
	slot = binary.BigEndian.AppendUint64(slot, m.at.first)
	slot = binary.BigEndian.AppendUint64(slot, m.at.last)
	slot = binary.BigEndian.AppendUint64(slot, m.at.number)
	slot = append(slot, 0)
	if m.at.clean {
		slot[40] = 1
	}
	slot = append(slot, m.at.incarnation...)[:markSlot]
	binary.BigEndian.PutUint32(slot[4:], crc32.Checksum(slot[8:], castagnoli()))
	m.dirty = true
	_, err := m.file.WriteAt(slot, int64(m.generation%2)*markSlot)
	return err
}

// acknowledged notes a message.
func (m *mark) acknowledged(seq, number uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil || seq <= m.at.last {
		return nil
	}
	m.at.last, m.at.number = seq, number
	return m.write()
}

// sync brings what was written to the disk.
func (m *mark) sync() error {
	m.mu.Lock()
	f, dirty := m.file, m.dirty
	m.dirty = false
	m.mu.Unlock()
	if f == nil || !dirty {
		return nil
	}
	return f.Sync()
}

// close writes the exact position and ends.
func (m *mark) close(first, last uint64, clean bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	if clean {
		m.at.first, m.at.last, m.at.clean = first, max(last, m.at.last), true
	}
	err := errors.Join(m.write(), m.file.Sync(), m.file.Close())
	m.file = nil
	return err
}
