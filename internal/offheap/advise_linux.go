package offheap

import "syscall"

// large asks for large pages: one is had for little more than one of the 512 others in its place. Without them all is as it was.
func large(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

// forget gives the memory of pages back, but not their addresses. They hold anything from then on.
func forget(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
