//go:build unix && !linux

package pgembed

import (
	"bytes"
	"os/exec"
	"strconv"
	"syscall"
)

// attributes start a child under the account. There is no parent-death signal
// here: the next start ends what a crash left running.
func (a account) attributes(syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

func isServer(pid int, data string) bool {
	cmdline, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && bytes.Contains(cmdline, []byte("postgres")) && bytes.Contains(cmdline, []byte(data))
}
