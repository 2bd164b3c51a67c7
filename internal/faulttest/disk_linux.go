package faulttest

import (
	"errors"
	"fmt"
	"syscall"
)

func options(size int64) string { return fmt.Sprintf("mode=0711,size=%d", size) }

func mount(path string, size int64) error {
	return syscall.Mount("tmpfs", path, "tmpfs", 0, options(size))
}

func resize(path string, size int64) error {
	return syscall.Mount("", path, "", syscall.MS_REMOUNT, options(size))
}

// unmount does not wait for who is still on his way out, as a logger may be.
func unmount(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }

// shrink makes the disk as small as what is on it.
func shrink(path string) error {
	for range 20 { // somebody may write between the question and the answer
		var s syscall.Statfs_t
		if err := syscall.Statfs(path, &s); err != nil {
			return err
		}
		err := resize(path, int64(s.Blocks-s.Bfree)*s.Bsize) //nolint:gosec // a size
		if !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return fmt.Errorf("fill %s: somebody writes faster than it shrinks", path)
}
