package faulttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// From linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func mountMemory(path string, size int64) error {
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", size)); err != nil {
		return fmt.Errorf("mount a disk in memory: %w", err)
	}
	return nil
}

// mountImage makes a file system in a file and mounts it. Without a journal and
// reserved blocks, so that full is full for everybody.
func mountImage(image, path string, size int64) error {
	file, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return err
	}
	if err := command("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", image); err != nil {
		return err
	}
	if err := command("mount", "-o", "loop,discard", image, path); err != nil {
		return err
	}
	return os.Chmod(path, 0o711) //nolint:gosec // PostgreSQL runs as another user
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// unmount does not wait for who is still on his way out, as a logger may be.
func unmount(path string) error {
	if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
		return err // neither "was never mounted" nor "never could be"
	}
	return nil
}

// fillUp takes what is free on the disk of path into a file, in ever smaller
// pieces.
func fillUp(path, filler string) error {
	file, err := os.Create(filler)
	if err != nil {
		return err
	}
	defer file.Close()
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return err
	}
	var at int64
	for piece := int64(s.Bavail) * s.Bsize; piece >= s.Bsize; { //nolint:gosec // a size
		err := syscall.Fallocate(int(file.Fd()), 0, at, piece) //nolint:gosec // a file's number
		switch {
		case errors.Is(err, syscall.ENOSPC):
			piece /= 2
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("fill %s: %w", path, err)
		default:
			at += piece
		}
	}
	return nil
}

// freeze has writes to the disk of path wait until thaw.
func freeze(path string) (thaw func() error, err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	call := func(what uintptr) error {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), what, 0); errno != 0 {
			return fmt.Errorf("freeze or thaw %s: %w", path, errno)
		}
		return nil
	}
	if err := call(fiFreeze); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return func() error { return errors.Join(call(fiThaw), dir.Close()) }, nil
}
