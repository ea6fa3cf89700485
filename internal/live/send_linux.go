package live

import (
	"syscall"
	"unsafe"
)

// send writes as much of b to a socket as it takes at once. It does not tell the scheduler that this is a system call: one that cannot
// wait takes a few microseconds, and a writer with thousands of connections to go would lose its processor at any of them.
func send(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, err := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0) //nolint:gosec // the kernel only reads b, and only now
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}
