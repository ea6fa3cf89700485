package bus

import "time"

// Beginning is where a partition of a new log takes up the numbers: behind those of messages that were read from another log, and whose events
// are in the store already. It is what a restored backup begins with.
type Beginning struct {
	// Incarnation is that of the other log; Knows says of its numbers that they mean the same in the new one.
	Incarnation string
	Seq         uint64
}

// identity is that of a partition that begins here.
func (g Beginning) identity(now time.Time) partitionIdentity {
	id := partitionIdentity{Incarnation: newIncarnation()}
	if g.Incarnation != "" {
		id.Past = append(id.Past, past{g.Incarnation, g.Seq, now})
	}
	return id
}

// beginning is where partition p of a new log begins; zero for one that begins as usual.
func (c *Config) beginning(p int) Beginning {
	if p < len(c.Begin) {
		return c.Begin[p]
	}
	return Beginning{}
}

// Knows says whether the number seq of an incarnation means the same message in this log, or meant it while the log had it.
func (b *Bus) Knows(p int, incarnation string, seq uint64) bool {
	id := b.ledger.part(p)
	return id.knows(incarnation, seq)
}
