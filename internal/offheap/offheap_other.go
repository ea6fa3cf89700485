//go:build !unix

package offheap

func mapMemory(int) []byte { return nil }

func unmapMemory([]byte) {}

func address([]byte) int { return 0 }
