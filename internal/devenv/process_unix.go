//go:build unix && !linux

package devenv

import (
	"os/exec"
	"strconv"
	"strings"
)

// startTime gives when the process began, to the second, and whether it runs.
func startTime(pid int) (started string, running bool) {
	out, err := exec.Command("ps", "-o", "state=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, started, found := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || !found {
		return "", false
	}
	return strings.TrimSpace(started), !strings.HasPrefix(state, "Z")
}

// childrenOf gives the processes that a process has started.
func childrenOf(parent int) (pids []int) {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output()
	if err != nil {
		return nil
	}
	for _, line := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(line); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
