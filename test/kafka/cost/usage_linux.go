package main

import (
	"os/exec"
	"syscall"
	"time"
)

// usage reads what a process that has ended used.
func usage(wall time.Duration, cmd *exec.Cmd) result {
	r := result{wall: wall.Seconds(), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.resident = u.Maxrss >> 10
	}
	return r
}
