//go:build !linux

package live

import "syscall"

// send writes as much of b to a socket as it takes at once: sockets of the net package do not wait.
func send(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }
