package main

import (
	"os/exec"
	"syscall"
)

// endOrphan lets the system send SIGTERM to a command when the thread that started it
// ends, with its process at the latest.
func endOrphan(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
