//go:build unix

package offheap

import (
	"syscall"
	"unsafe"
)

func mapMemory(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

func unmapMemory(b []byte) { _ = syscall.Munmap(b) } // what cannot be given back stays

// address is where b begins.
func address(b []byte) int { return int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) } //nolint:gosec // to find a boundary
