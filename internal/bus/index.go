package bus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// JetStream writes index.db, what is in which block, when it stops and every two minutes. When it finds none that fits, it reads all blocks, two
// seconds a gigabyte, before it is ready. This program reads the same faster, since it uses all cores, and reads only the
// blocks that the file does not cover; so it writes the file itself before it starts JetStream, which then begins at once.
const (
	indexFile    = "index.db"
	indexMagic   = 11
	indexVersion = 4 // of 2.15.2; JetStream rebuilds from the blocks when it does not know the version
)

var errIndex = errors.New("the index of the blocks is damaged")

func indexHash(stream string) *highwayhash.Digest64 {
	key := sha256.Sum256([]byte(stream))
	digest, _ := highwayhash.NewDigest64(key[:]) // fails only for a key of another length
	return digest
}

// readIndex gives what JetStream has written down about the blocks, by their number.
func readIndex(dir, stream string) (blocks map[uint32]block, lastBlock uint32, err error) {
	b, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		return nil, 0, err
	}
	if len(b) < 32 {
		return nil, 0, errIndex
	}
	end := len(b) - recordHash
	digest := indexHash(stream)
	_, _ = digest.Write(b[:end])
	if digest.Sum64() != binary.LittleEndian.Uint64(b[end:]) || b[0] != indexMagic || b[1] != indexVersion {
		return nil, 0, errIndex
	}
	return parseIndex(&cursor{b: b[2:end]})
}

// cursor reads numbers one behind the other.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) skip(n int) {
	if n < 0 || n > len(c.b) {
		c.bad, n = true, len(c.b)
	}
	c.b = c.b[n:]
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.skip(n)
	return v
}

func (c *cursor) int() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.skip(n)
	return v
}

func parseIndex(c *cursor) (blocks map[uint32]block, lastBlock uint32, err error) {
	_, _, _, base := c.uint(), c.uint(), c.uint(), c.int() // messages, bytes, first number, its time
	_, _ = c.uint(), c.int()                               // last number, its time
	for range c.count() {                                  // subjects: name, messages, first and last block
		c.skip(int(c.uint())) //nolint:gosec // skip bounds it
		_, _, _ = c.uint(), c.uint(), c.uint()
	}
	blocks = map[uint32]block{}
	for range c.count() {
		b := block{index: uint32(c.uint()), bytes: c.uint(), first: c.uint(), firstTS: c.int() + base, last: c.uint(), lastTS: c.int() + base} //nolint:gosec // written as it is read
		b.from = b.first
		deleted := c.uint()
		_, _ = c.uint(), c.uint() // messages that expire by themselves, scheduled ones
		if c.bad {
			return nil, 0, errIndex
		}
		b.messages = b.last - b.first + 1
		if deleted > 0 {
			set, n, err := avl.Decode(c.b)
			if err != nil {
				return nil, 0, fmt.Errorf("%w: %w", errIndex, err)
			}
			c.skip(n)
			b.deleted = set
			b.messages -= min(deleted, b.messages)
		}
		blocks[b.index] = b
	}
	lastBlock = uint32(c.uint()) //nolint:gosec // written as it is read
	if c.bad {
		return nil, 0, errIndex
	}
	return blocks, lastBlock, nil
}

// count is a number of things that each take at least a byte.
func (c *cursor) count() uint64 {
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.bad = true
		return 0
	}
	return n
}

// writeIndex writes down what is in the blocks, so that JetStream need not read them.
func writeIndex(dir, stream, subject string, blocks []block) error {
	path := filepath.Join(dir, indexFile)
	if len(blocks) == 0 {
		return removeIfThere(path)
	}
	b := appendIndex(nil, subject, blocks)
	digest := indexHash(stream)
	_, _ = digest.Write(b)
	b = binary.LittleEndian.AppendUint64(b, digest.Sum64())
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, b) {
		return nil
	}
	// Not synced: one that a power cut has torn is seen to be so, and the blocks are read.
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func appendIndex(b []byte, subject string, blocks []block) []byte {
	var messages, size uint64
	tail := blocks[len(blocks)-1]
	lead, end := tail, tail.index // the first block with messages, and the last one
	for i := len(blocks) - 1; i >= 0; i-- {
		if blocks[i].messages > 0 {
			if messages == 0 {
				end = blocks[i].index
			}
			lead = blocks[i]
		}
		messages, size = messages+blocks[i].messages, size+blocks[i].bytes
	}
	b = append(b, indexMagic, indexVersion)
	b = binary.AppendUvarint(b, messages)
	b = binary.AppendUvarint(b, size)
	b = binary.AppendUvarint(b, lead.first)
	b = binary.AppendVarint(b, lead.firstTS)
	b = binary.AppendUvarint(b, tail.last)
	b = binary.AppendVarint(b, tail.lastTS)
	if messages == 0 {
		b = binary.AppendUvarint(b, 0)
	} else {
		b = binary.AppendUvarint(b, 1)
		b = binary.AppendUvarint(b, uint64(len(subject)))
		b = append(b, subject...)
		b = binary.AppendUvarint(b, messages)
		b = binary.AppendUvarint(b, uint64(lead.index))
		b = binary.AppendUvarint(b, uint64(end))
	}
	b = binary.AppendUvarint(b, uint64(len(blocks)))
	for _, x := range blocks {
		b = binary.AppendUvarint(b, uint64(x.index))
		b = binary.AppendUvarint(b, x.bytes)
		b = binary.AppendUvarint(b, x.first)
		b = binary.AppendVarint(b, x.firstTS-lead.firstTS)
		b = binary.AppendUvarint(b, x.last)
		b = binary.AppendVarint(b, x.lastTS-lead.firstTS)
		deleted := 0
		if x.deleted != nil {
			deleted = x.deleted.Size()
		}
		b = binary.AppendUvarint(b, uint64(deleted))
		b = binary.AppendUvarint(b, 0)
		b = binary.AppendUvarint(b, 0)
		if deleted > 0 {
			b = append(b, x.deleted.Encode(nil)...)
		}
	}
	b = binary.AppendUvarint(b, uint64(tail.index))
	return append(b, tail.checksum[:]...)
}
