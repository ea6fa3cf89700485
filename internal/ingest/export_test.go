package ingest

import "time"

// Again empties a batch for another request.
func Again(b *Batch, source string, now time.Time, retention time.Duration) *Batch {
	b.reset(source, now, retention)
	return b
}
