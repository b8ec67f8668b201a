package devenv

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

var bootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it, ticks since boot must do
	return strings.TrimSpace(string(b))
})

// startTime gives when the process began (field 22 of its stat, in ticks since
// the boot named with it) and whether it runs.
func startTime(pid int) (started string, running bool) {
	fields := stat(strconv.Itoa(pid))
	if fields == nil {
		return "", false
	}
	return bootID() + "/" + fields[19], fields[0] != "Z" && fields[0] != "X"
}

// stat gives the fields of a process's stat from the third on: the state, the
// parent; nil when it has ended.
func stat(pid string) []string {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil
	}
	// The second field is the program's name in parentheses; it may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return nil
	}
	return fields
}

// childrenOf gives the processes that a process has started.
func childrenOf(parent int) (pids []int) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if fields := stat(entry.Name()); fields != nil && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}
