package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Blocks that were not read when the log was opened are read by and by in the background, and before a reader comes to them; once a
// day all are read again. JetStream must not be the first to come to a damaged block: it cuts it off.

const (
	scrubEvery = 24 * time.Hour
	// scrubRest is how long the background rests for each unit of time that it reads.
	scrubRest = 4
	// lookAhead is how far ahead of a reader, in messages, JetStream may have come; more than it delivers ahead of being asked.
	lookAhead = 4 * readAhead
)

// unverified are blocks of a partition that are still to be read, in order.
type unverified struct {
	mu     sync.Mutex
	blocks []block
}

func (u *unverified) set(blocks []block) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.blocks = blocks
}

// within gives those that have numbers from to to.
func (u *unverified) within(from, to uint64) []block {
	u.mu.Lock()
	defer u.mu.Unlock()
	i, _ := slices.BinarySearchFunc(u.blocks, from, func(b block, seq uint64) int {
		if b.last < seq {
			return -1
		}
		return 1
	})
	j := i
	for j < len(u.blocks) && u.blocks[j].from <= to {
		j++
	}
	return slices.Clone(u.blocks[i:j])
}

// oldest gives the first one.
func (u *unverified) oldest() (block, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.blocks) == 0 {
		return block{}, false
	}
	return u.blocks[0], true
}

func (u *unverified) done(index uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.blocks = slices.DeleteFunc(u.blocks, func(b block) bool { return b.index == index })
}

// verify reads a block. When it is damaged the log is started anew, which mends it.
func (b *Bus) verify(l *life, part *partition, x block, buf []byte) ([]byte, error) {
	buf, err := x.scan(streamName(part.index), buf)
	switch {
	case errors.Is(err, os.ErrNotExist): // too old, and removed since
	case err != nil:
		return buf, err
	case x.damage != "":
		reason := fmt.Sprintf("block %s is damaged: %s", x.path, x.damage)
		b.report(fault{life: l, reason: reason, suspects: map[string]bool{x.path: true}})
		return buf, fmt.Errorf("%w: %s", ErrUnavailable, reason)
	}
	part.pending.done(x.index)
	return buf, nil
}

// ahead makes sure that what a reader gets next was verified.
func (b *Bus) ahead(l *life, part *partition, from uint64) error {
	for _, x := range part.pending.within(from, from+lookAhead) {
		if _, err := b.verify(l, part, x, nil); err != nil {
			return err
		}
	}
	return nil
}

// scrub reads what was not read, until ctx ends.
func (b *Bus) scrub(ctx context.Context) {
	var buf []byte
	next := time.Now().Add(scrubEvery)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		rest := time.Second
		if l, err := b.current(); err == nil {
			began := time.Now()
			var worked bool
			if buf, worked = b.scrubOne(l, buf); worked {
				rest = scrubRest * time.Since(began)
			} else if began.After(next) {
				b.scrubAll()
				next = began.Add(scrubEvery)
			}
		}
		timer.Reset(rest)
	}
}

// scrubOne reads one block that is still to be read.
func (b *Bus) scrubOne(l *life, buf []byte) (next []byte, worked bool) {
	for _, part := range b.parts {
		x, ok := part.pending.oldest()
		if !ok {
			continue
		}
		buf, err := b.verify(l, part, x, buf)
		if err != nil {
			b.cfg.Log.Warn("a block of the log could not be verified", "pulsestream.partition", part.index, "error.message", err.Error())
			return buf, false
		}
		return buf, true
	}
	return buf, false
}

// scrubAll puts all blocks but the last of each partition, which is being written, on the list.
func (b *Bus) scrubAll() {
	for p, part := range b.parts {
		blocks, err := listBlocks(filepath.Join(streamDir(b.cfg.Dir, p), "msgs"))
		if err != nil || len(blocks) == 0 {
			continue
		}
		part.pending.set(blocks[:len(blocks)-1])
	}
}
