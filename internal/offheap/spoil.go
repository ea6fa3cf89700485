//go:build !race

package offheap

// spoil has what comes back overwritten, so that tests under the race detector see who reads it all the same.
const spoil = false
