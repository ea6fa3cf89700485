//go:build !unix

package process

func mapMemory(int) []byte { return nil }

func unmapMemory([]byte) {}
