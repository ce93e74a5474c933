//go:build !linux

package main

import (
	"os/exec"
	"time"
)

// usage reads what a process that has ended used; how much memory that was is known on Linux only.
func usage(wall time.Duration, cmd *exec.Cmd) result {
	return result{wall: wall.Seconds(), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
}
