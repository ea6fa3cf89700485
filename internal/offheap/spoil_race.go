//go:build race

package offheap

const spoil = true
