//go:build !linux

package offheap

func large([]byte) {}

func forget([]byte) {}
