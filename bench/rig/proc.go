//go:build linux

package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userHZ is the unit of CPU times in /proc: it is part of the kernel's interface.
const userHZ = 100

// CPU is the CPU time that the process has used so far, user and system, of all its threads.
func (s *Server) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		return 0, err
	}
	return parseCPU(text)
}

// parseCPU reads /proc/PID/stat: the name in brackets may have spaces, so fields are counted from behind it.
func parseCPU(stat []byte) (time.Duration, error) {
	at := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[at+1:]))
	if at < 0 || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / userHZ, errors.Join(err, err2)
}

// Busy is the CPU time that all processes of the machine have used so far.
func Busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(text))
}

// parseBusy reads the first line of /proc/stat: all but what was idle, and but the guests, who are in user time already.
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, errors.New("/proc/stat is not as expected")
	}
	ticks := int64(0)
	for i, f := range fields[1:8] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 { // idle, and idle while a disk works
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// Peak is the most memory that the process ever had resident, in bytes.
func (s *Server) Peak() (int64, error) { return s.status("VmHWM:") }

// Resident is the memory that the process has resident now, in bytes.
func (s *Server) Resident() (int64, error) { return s.status("VmRSS:") }

func (s *Server) status(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0, err
	}
	return parseStatus(string(text), name)
}

func parseStatus(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/PID/status has no %s", name)
}

// ResetPeak makes Peak begin anew. Where the system forbids it, Peak stays that of the whole life.
func (s *Server) ResetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.PID()), []byte("5"), 0)
}

// RaiseFiles raises the limit of open files of this process and those it starts to the hardest allowed, and returns it.
func RaiseFiles() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	l.Cur = l.Max
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err
}
