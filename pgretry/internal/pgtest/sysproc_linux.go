package pgtest

import "syscall"

// endWithParent makes the server stop when the test process is killed.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
