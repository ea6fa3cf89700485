package ingest

import "time"

// Again empties a batch for another request.
func Again(b *Batch, source string, now time.Time, retention time.Duration) *Batch {
	b.reset(source, now, retention)
	return b
}

// Lull sets how long nobody may have come for what waits to go. It is called before the first Commit.
func (c *Committer) Lull(d time.Duration) { c.lull = d }
