//go:build linux

package fault

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// needsRoot says why nothing can be mounted, or nil.
func needsRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting takes root")
	}
	return nil
}

// needsLoop says why no ext4 image can be mounted, or nil.
func needsLoop() error {
	if err := needsRoot(); err != nil {
		return err
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return errors.New("there is no mkfs.ext4")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return errors.New("the kernel has no loop devices")
	}
	return nil
}

// command runs a program and returns what it said when it fails.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec,noctx // fixed programs, which end by themselves
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// disk is a file system of its own in an image file.
type disk struct {
	image string
	point string
}

// newDisk makes an ext4 of size bytes and mounts it at point. It is unmounted at the end of the run.
func (r *rig) newDisk(point string, size int64) (*disk, error) {
	d := &disk{image: filepath.Join(r.scratch, "disk.ext4"), point: point}
	if err := os.MkdirAll(point, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image); err != nil {
		return nil, err
	}
	r.onEnd(func() error { return unmountIfMounted(point) })
	return d, d.mount()
}

func (d *disk) mount() error { return command("mount", "-o", "loop", d.image, d.point) }

// extShutdown is EXT4_IOC_SHUTDOWN; noLogFlush makes the file system forget what its journal has not written yet.
const (
	extShutdown = 0x8004587d
	noLogFlush  = 2
)

// cutPower stops the file system in its tracks: what has not been written to the image never will be. Every call on it fails from now on.
func (d *disk) cutPower() error {
	dir, err := os.Open(d.point)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	flag := uint32(noLogFlush)
	if errno := ioctl(dir.Fd(), extShutdown, &flag); errno != 0 {
		return fmt.Errorf("EXT4_IOC_SHUTDOWN: %w", errno)
	}
	return nil
}

// recoverDisk unmounts, checks and mounts again, as a machine does that comes up.
func (d *disk) recoverDisk() error {
	if err := command("umount", d.point); err != nil {
		return err
	}
	return d.mount()
}

// newTmpfs mounts a file system in memory with so many bytes.
func (r *rig) newTmpfs(point string, size int64) error {
	if err := os.MkdirAll(point, 0o700); err != nil {
		return err
	}
	r.onEnd(func() error { return unmountIfMounted(point) })
	return command("mount", "-t", "tmpfs", "-o", "size="+strconv.FormatInt(size, 10), "tmpfs", point)
}

func mountPoints() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			points = append(points, strings.ReplaceAll(f[1], `\040`, " "))
		}
	}
	return points, nil
}

func unmountIfMounted(point string) error {
	points, err := mountPoints()
	if err != nil {
		return err
	}
	for _, p := range points {
		if p == point {
			return command("umount", point)
		}
	}
	return nil
}

// sweep unmounts what an earlier runner left behind that was killed.
func sweep(w io.Writer) {
	points, err := mountPoints()
	if err != nil {
		return
	}
	for _, p := range points {
		_, rest, ok := strings.Cut(p, "/"+scratchName)
		if !ok {
			continue
		}
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		if err := command("umount", p); err != nil {
			fmt.Fprintf(w, "left behind by an earlier run, and not to be unmounted: %v\n", err)
		}
	}
}
