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
