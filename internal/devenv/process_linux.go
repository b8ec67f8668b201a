package devenv

import (
	"fmt"
	"os"
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
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The second field is the program's name in parentheses; it may hold anything.
	_, rest, found := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	fields := strings.Fields(rest) // from the third field on: the state
	if !found || len(fields) < 20 {
		return "", false
	}
	return bootID() + "/" + fields[19], fields[0] != "Z" && fields[0] != "X"
}
