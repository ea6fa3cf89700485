package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// damagedDir is the folder, beside the log, that damaged files are copied to before they are written anew.
const damagedDir = "damaged"

// mendedSuffix is that of a block written anew until it is moved into its place.
const mendedSuffix = ".mended"

// mend writes anew what is damaged, and fills what is missing, until the numbers run without a gap from the first message to the last one promised.
func (x *inspection) mend(context.Context) error {
	if err := x.removeEmpty(); err != nil {
		return err
	}
	x.fresh = len(x.blocks) == 0
	if x.fresh {
		return x.begin()
	}
	if x.adopted != "" {
		x.log.Error("the store has read another log than this one: put the right one back, or set the store of events aside to have it built anew from this one",
			"pulsestream.partition", x.partition, "pulsestream.incarnation", x.adopted)
	}
	if err := x.head(); err != nil {
		return err
	}
	before := piece{seq: x.startsBehind()}
	for i := range x.blocks {
		next, err := x.follows(i)
		if err != nil {
			return err
		}
		b, tail := &x.blocks[i], i == len(x.blocks)-1
		// What is missing between two blocks is put at the end of the first one; a long stretch at the end of the log gets a block of its own.
		missing := next > 0 && b.last+1 < next && (!tail || next-b.last <= maxHole)
		if b.damage != "" || missing {
			if err := x.rebuild(b, before, next, tail); err != nil {
				return err
			}
		}
		before = piece{seq: max(before.seq, b.last), ts: b.lastTS, frame: b.lead}
	}
	if before.seq < x.promised {
		return x.extend(before)
	}
	return x.distrusted()
}

// removeEmpty removes files without anything in them: one is left behind when the machine stops just as a block begins, and
// what stood in one that was cut to nothing is missed by its numbers.
func (x *inspection) removeEmpty() error {
	kept := x.blocks[:0]
	for _, b := range x.blocks {
		if b.size > 0 || b.messages > 0 {
			kept = append(kept, b)
			continue
		}
		if err := removeIfThere(b.path); err != nil {
			return err
		}
	}
	x.blocks = kept
	return nil
}

// begin makes the first block of a log that has none, if it has to begin behind numbers that were given already.
func (x *inspection) begin() error {
	loss := Loss{Partition: x.partition, Incarnation: x.identity.Incarnation, At: x.now}
	before := piece{ts: x.now.UnixNano()}
	switch {
	case x.adopted != "":
		// A new log in the place of the one that the store has read. What that held behind the store's position is not known.
		x.identity.Past = append(x.identity.Past, past{x.adopted, x.read, x.now})
		loss.Incarnation, loss.FromSeq = x.adopted, x.read+1
		loss.Reason = fmt.Sprintf("the log that the store has read up to %d is gone; this is a new one", x.read)
		before.seq, x.promised = x.read, max(x.promised, x.read)+1
	case x.promised > 0:
		before.seq = max(x.mark.first, 1) - 1
		loss.FromSeq, loss.ToSeq, loss.Reason = before.seq+1, x.promised, "the files of the partition are gone"
	default:
		return nil
	}
	x.losses = append(x.losses, loss)
	return x.block(1, before, loss.Reason)
}

// startsBehind is the number before the first block.
func (x *inspection) startsBehind() uint64 {
	b := x.blocks[0]
	switch {
	case b.messages > 0 || b.last > 0:
		return b.from - 1
	case x.mark.first > 0:
		return x.mark.first - 1
	}
	return 0
}

// head looks for messages that are missing before the first block. Messages that are too old go from there all the time, so this can
// only be told after a clean stop.
func (x *inspection) head() error {
	b := x.blocks[0]
	if !x.mark.clean || x.mark.first == 0 || x.mark.first > x.mark.last || b.damage != "" || b.from <= x.mark.first {
		return nil
	}
	x.losses = append(x.losses, Loss{Partition: x.partition, Incarnation: x.identity.Incarnation, FromSeq: x.mark.first, ToSeq: b.from - 1,
		Reason: "the beginning of the log is gone", At: x.now})
	return nil
}

// follows is the number that must come behind block i: that which the next block begins with, or behind the last one promised. It is 0 when
// there is none.
func (x *inspection) follows(i int) (uint64, error) {
	for j := i + 1; j < len(x.blocks); j++ {
		b := &x.blocks[j]
		if !b.checked && b.damage == "" && b.from != x.blocks[i].last+1 {
			if err := x.scan([]*block{b}); err != nil { // it may begin with a message that stands for lost ones
				return 0, err
			}
		}
		if b.messages > 0 {
			return b.from, nil
		}
		if b.damage == "" {
			continue
		}
		content, _, err := readBlock(b.path, nil)
		if err != nil {
			return 0, err
		}
		pieces, _ := salvage(content, newBlockHash(x.stream, b.index), x.subject)
		if seq := presumed(pieces); seq > 1 {
			return seq, nil
		}
	}
	if x.promised > 0 {
		return x.promised + 1, nil
	}
	return 0, nil
}

// presumed is the number that pieces begin with, going by the first one whose number is certain; 1 when there is none.
func presumed(pieces []piece) uint64 {
	for n, p := range pieces {
		if p.seq > 0 {
			return max(p.start(), uint64(n)+1) - uint64(n)
		}
	}
	return 1
}

// rebuild writes a block anew.
func (x *inspection) rebuild(b *block, before piece, next uint64, tail bool) error {
	content, unreadable, err := readBlock(b.path, nil)
	if err != nil {
		return err
	}
	damage := b.damage
	if damage == "" {
		damage = "messages are missing behind it"
	}
	hash := newBlockHash(x.stream, b.index)
	pieces, corrected := salvage(content, hash, x.subject)
	if before.seq == 0 && x.mark.first == 0 {
		before.seq = presumed(pieces) - 1
	}
	if before.ts == 0 {
		before.ts = x.now.UnixNano()
	}
	upper := next
	if tail { // more may have been written than was promised
		upper = 0
	}
	pieces = place(pieces, before.seq, upper)
	last := before.seq
	if len(pieces) > 0 {
		last = pieces[len(pieces)-1].seq
	}
	if tail && next > last && next-last > maxHole {
		next = 0
	}
	fresh, gaps := assemble(pieces, hash, x.partition, x.subject, damage, before, next)
	torn := tail && len(gaps) == 0 && corrected == 0 && unreadable == "" && x.mark.incarnation != "" && !x.mark.clean
	aside := ""
	if !torn && b.damage != "" {
		if aside, err = x.setAside(b, content); err != nil {
			return err
		}
	}
	for _, g := range gaps {
		x.losses = append(x.losses, Loss{Partition: x.partition, Incarnation: x.identity.Incarnation, FromSeq: g.from, ToSeq: g.to, Number: g.number,
			Reason: filepath.Base(b.path) + ": " + damage, SetAside: aside, At: x.now})
	}
	switch {
	case torn:
		x.log.Info("a message that was being written when the process ended was removed: nobody was told that it was taken", "pulsestream.partition", x.partition, "file.path", b.path)
	case len(gaps) == 0:
		x.repairs = append(x.repairs, Repair{Partition: x.partition, File: b.path, Reason: damage, SetAside: aside, At: x.now})
	}
	return x.put(b, fresh)
}

// put writes a block's new content beside it, to be moved into its place, and looks at what it holds.
func (x *inspection) put(b *block, content []byte) error {
	path := b.path
	temp := path + mendedSuffix
	if err := replaceFile(temp, content); err != nil {
		return err
	}
	x.replace = append(x.replace, replacement{temp, path})
	b.path = temp
	_, err := b.scan(x.stream, nil)
	b.path = path
	if err == nil && b.damage != "" {
		err = fmt.Errorf("the block %s cannot be mended: %s", path, b.damage)
	}
	return err
}

// extend fills what is missing up to the last message promised with a block of its own.
func (x *inspection) extend(before piece) error {
	reason := "the end of the log is gone"
	loss := Loss{Partition: x.partition, Incarnation: x.identity.Incarnation, FromSeq: before.seq + 1, ToSeq: x.promised, Reason: reason, At: x.now}
	if before.frame.number > 0 {
		loss.Number = before.frame.number + 1
	}
	x.losses = append(x.losses, loss)
	if before.ts == 0 {
		before.ts = x.now.UnixNano()
	}
	return x.block(x.blocks[len(x.blocks)-1].index+1, before, reason)
}

// block makes a block with a single message that stands for all from behind before up to the last one promised.
func (x *inspection) block(index uint32, before piece, reason string) error {
	if err := makeDir(x.msgs); err != nil {
		return err
	}
	content, _ := assemble(nil, newBlockHash(x.stream, index), x.partition, x.subject, reason, before, x.promised+1)
	x.blocks = append(x.blocks, block{index: index, path: filepath.Join(x.msgs, strconv.FormatUint(uint64(index), 10)+blockSuffix)})
	return x.put(&x.blocks[len(x.blocks)-1], content)
}

// setAside keeps a copy of a damaged block.
func (x *inspection) setAside(b *block, content []byte) (string, error) {
	dir := filepath.Join(x.dir, damagedDir)
	if err := makeDir(dir); err != nil {
		return "", err
	}
	name := filepath.Join(dir, x.now.UTC().Format("20060102T150405.000")+"-"+x.stream+"-"+filepath.Base(b.path))
	return name, replaceFile(name, content)
}

// distrusted writes the last block anew after a failed sync: the system may believe that it is on disk while it is not.
func (x *inspection) distrusted() error {
	if !x.distrust || len(x.replace) > 0 {
		return nil
	}
	b := &x.blocks[len(x.blocks)-1]
	content, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	return x.put(b, content)
}
