//go:build linux || darwin

package bus

import "syscall"

// freeDisk is what a process without privileges may still write beneath dir, 0
// when that cannot be told.
func freeDisk(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:gosec,unconvert // the types differ by system
}
