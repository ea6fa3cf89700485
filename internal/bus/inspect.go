package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// JetStream cuts a block off at the first record that is not whole, and everything behind it is gone without a word; when the last block
// is concerned it gives the same numbers again. So the files are looked at before it opens them: what is damaged is set aside, and
// each damaged block is written anew with every message that is still whole, under its own number. In the place of those that are gone
// stands one message that says so. Numbers therefore never go back, whatever happens to the disk, and the store's
// positions keep their order.
//
// Not every block is read at each start: one that is full does not change any more, and is checked in the background, and before a reader comes to it.

const (
	// scanBudget is how much of what the store has not read yet is checked before the log opens, in bytes.
	scanBudget = 256 << 20
	// committedTimeout bounds how long the store is waited for.
	committedTimeout = 5 * time.Second
	// maxHole is the longest stretch of missing numbers inside a block; behind a longer one a new block begins.
	maxHole = 1 << 16
)

// inspector looks at the files of a closed log.
type inspector struct {
	dir       string
	guard     string // where this package's own files are
	ledger    *ledger
	committed func(context.Context, int) (incarnation string, seq uint64, err error)
	retention time.Duration
	now       time.Time
	log       *slog.Logger
	// distrust says that a sync failed: what stands at the end of the log may be in memory only, and is written anew.
	distrust bool
	// suspects are blocks, by path, that are to be read in any case.
	suspects map[string]bool
	all      bool // read every block
}

// inspection is what was found of one partition, and what is to be done about it.
type inspection struct {
	*inspector
	partition  int
	stream     string
	subject    string
	msgs       string // the folder of the blocks
	identity   partitionIdentity
	mark       position
	generation uint64
	promised   uint64 // the last message that somebody was told of
	adopted    string // the incarnation that the store has read, when this log is a new one
	read       uint64 // how far the store has read
	blocks     []block
	replace    []replacement
	losses     []Loss
	repairs    []Repair
	fresh      bool // there are no blocks
}

// replacement is a block written anew, not yet in its place.
type replacement struct{ temp, path string }

// partition brings the files of one partition into order.
func (in *inspector) partition(ctx context.Context, p int) (*inspection, error) {
	x := &inspection{inspector: in, partition: p, stream: streamName(p), subject: subjectName(p), msgs: filepath.Join(streamDir(in.dir, p), "msgs"), identity: in.ledger.part(p)}
	for _, step := range []func(context.Context) error{x.promises, x.survey, x.mend, x.settle} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("look at the files of partition %d of the log: %w", p, err)
		}
	}
	return x, nil
}

// promises finds out how long the log must be.
func (x *inspection) promises(ctx context.Context) error {
	at, generation, damaged, err := readMark(markPath(x.guard, x.partition))
	if err != nil || damaged {
		x.repairs = append(x.repairs, Repair{Partition: x.partition, File: markPath(x.guard, x.partition), Reason: "the high-water mark is damaged; it is written anew", At: x.now})
	}
	x.mark, x.generation = at, generation
	if at.incarnation != "" && x.identity.knows(at.incarnation, at.last) {
		x.promised = at.last
	} else {
		x.mark = position{}
	}
	if x.committed == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, committedTimeout)
	defer cancel()
	incarnation, seq, err := x.committed(ctx, x.partition)
	if err != nil {
		x.log.Warn("the store does not say how far it has read the log; only the high-water mark tells how long it must be",
			"pulsestream.partition", x.partition, "error.message", err.Error())
		return nil
	}
	switch {
	case incarnation == "":
	case x.identity.knows(incarnation, seq):
		x.read = seq
		x.promised = max(x.promised, seq)
	default:
		x.adopted, x.read = incarnation, seq // decided when it is known whether there are blocks
	}
	return nil
}

// survey looks at the blocks, reading those that must be read.
func (x *inspection) survey(context.Context) error {
	blocks, err := listBlocks(x.msgs)
	if err != nil {
		return err
	}
	known, last, err := readIndex(x.msgs, x.stream)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		x.log.Info("the index of the log's blocks cannot be used; the blocks are read", "pulsestream.partition", x.partition, "error.message", err.Error())
	}
	budget := int64(scanBudget)
	var read []*block
	for i := range blocks {
		b := &blocks[i]
		k, ok := known[b.index]
		switch {
		case !ok, b.index >= last, i == len(blocks)-1, x.all, x.suspects[b.path], k.deleted != nil, k.bytes != uint64(b.size), k.messages == 0: //nolint:gosec // a file's size
			read = append(read, b)
		case i == 0 && k.firstTS <= x.now.Add(-x.retention).UnixNano(): // JetStream will read it to remove what is too old
			read = append(read, b)
		case k.last > x.read && budget > 0:
			budget -= b.size
			read = append(read, b)
		default:
			k.path, k.size = b.path, b.size
			*b = k
		}
	}
	x.blocks = blocks
	return x.scan(read)
}

// scan reads blocks, on all cores.
func (x *inspection) scan(blocks []*block) error {
	queue := make(chan *block)
	errs := make(chan error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for range min(len(blocks), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			var buf []byte
			var failed error
			for b := range queue {
				if failed == nil {
					buf, failed = b.scan(x.stream, buf)
				}
			}
			errs <- failed
		})
	}
	for _, b := range blocks {
		queue <- b
	}
	close(queue)
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// last is the last message that the blocks have.
func (x *inspection) last() uint64 {
	for i := len(x.blocks) - 1; i >= 0; i-- {
		if x.blocks[i].last > 0 {
			return x.blocks[i].last
		}
	}
	return 0
}

// settle writes down what was found, then puts the mended blocks in their places. The order is such that a start that is broken off finds the
// damage again.
func (x *inspection) settle(context.Context) error {
	if len(x.losses) > 0 {
		x.identity.mint(max(x.last(), x.promised), x.now)
	}
	for i := range x.losses {
		x.losses[i].Stored = x.read
	}
	if err := x.ledger.note(x.losses, x.repairs); err != nil {
		return err
	}
	x.ledger.setPart(x.partition, x.identity)
	if err := x.ledger.saveIdentity(); err != nil {
		return err
	}
	for _, l := range x.losses {
		x.log.Error("messages of the log are lost", "pulsestream.partition", l.Partition, "pulsestream.incarnation", l.Incarnation, "pulsestream.from", l.FromSeq,
			"pulsestream.to", l.ToSeq, "error.message", l.Reason, "file.path", l.SetAside)
	}
	for _, r := range x.repairs {
		x.log.Warn("damage of the log was mended, nothing is lost", "pulsestream.partition", r.Partition, "file.path", r.File, "error.message", r.Reason)
	}
	return errors.Join(x.install(), x.describe())
}

// install puts blocks that were written anew in their places, and writes the index of the blocks.
func (x *inspection) install() error {
	if len(x.replace) > 0 {
		if err := removeIfThere(filepath.Join(x.msgs, indexFile)); err != nil {
			return err
		}
		for _, r := range x.replace {
			if err := os.Rename(r.temp, r.path); err != nil {
				return err
			}
		}
		if err := x.removeEmpty(); err != nil {
			return err
		}
		if err := syncDir(x.msgs); err != nil {
			return err
		}
	}
	var listed []block
	for i, b := range x.blocks {
		if b.odd {
			return removeIfThere(filepath.Join(x.msgs, indexFile))
		}
		if b.messages > 0 || i == len(x.blocks)-1 {
			listed = append(listed, b)
		}
	}
	return writeIndex(x.msgs, x.stream, x.subject, listed)
}

func (x *inspection) describe() error {
	mended, err := settleMeta(streamDir(x.dir, x.partition), x.stream, x.identity.Incarnation, x.identity.Meta)
	if err != nil || mended == "" {
		return err
	}
	x.log.Warn("damage of the log was mended, nothing is lost", "pulsestream.partition", x.partition, "error.message", mended)
	return x.ledger.note(nil, []Repair{{Partition: x.partition, File: filepath.Join(streamDir(x.dir, x.partition), metaFile), Reason: mended, At: x.now}})
}

// unverified are the blocks that were not read.
func (x *inspection) unverified() []block {
	var out []block
	for _, b := range x.blocks {
		if !b.checked {
			out = append(out, b)
		}
	}
	return out
}
