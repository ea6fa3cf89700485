package ingest

import "time"

// Again empties a batch for another request.
func Again(b *Batch, source string, now time.Time, retention time.Duration) *Batch {
	b.reset(source, now, retention)
	return b
}

// Wait sets how long a request waits for others at most. It is called before the first Commit.
func (c *Committer) Wait(d time.Duration) { c.wait = d }
