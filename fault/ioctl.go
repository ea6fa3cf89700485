//go:build linux

package fault

import (
	"syscall"
	"unsafe"
)

func ioctl(fd uintptr, request uintptr, arg *uint32) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg))) //nolint:gosec // the kernel's interface
	return errno
}
