package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processes are what is measured: the pid by the name.
type processes map[string]int

// database is the one process whose children do its work.
const database = "postgres"

// ticks a second, in which Linux tells CPU time; the same on all its architectures.
const ticks = 100

// cpu is the CPU time each process has used so far, in seconds. PostgreSQL's is
// that of all its processes, those that have ended included.
func (p processes) cpu() (map[string]float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return nil, fmt.Errorf("reading CPU times (Linux only): %w", err)
	}
	used := map[string]float64{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended since
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // from the third field on
		if len(fields) < 15 {
			continue
		}
		number := func(i int) float64 {
			n, _ := strconv.ParseFloat(fields[i], 64)
			return n / ticks
		}
		parent, _ := strconv.Atoi(fields[1])
		for name, want := range p {
			if pid == want || parent == want && name == database {
				used[name] += number(11) + number(12) // its own
			}
			if pid == want && name == database {
				used[name] += number(13) + number(14) // of children that have ended
			}
		}
	}
	return used, nil
}

// since is what was used after before was read.
func (p processes) since(before map[string]float64) (map[string]float64, error) {
	used, err := p.cpu()
	for name := range used {
		used[name] -= before[name]
	}
	return used, err
}

// resident is the memory of a process, in bytes.
func resident(pid int) (int64, error) { return statusOf(pid, "VmRSS:") }

// statusOf is one of the sizes in the status of a process, in bytes.
func statusOf(pid int, line string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory (Linux only): %w", err)
	}
	for text := range bytes.Lines(b) {
		if value, ok := strings.CutPrefix(string(text), line); ok {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", strings.TrimSuffix(line, ":"), pid)
}

// watchMemory looks at the memory of a process ten times a second until what it gives is
// called, which gives what was seen.
func watchMemory(pid int) (stop func() []int64) {
	done, seen := make(chan struct{}), make(chan []int64)
	go func() {
		ticks := time.NewTicker(100 * time.Millisecond)
		defer ticks.Stop()
		var all []int64
		for look := true; look; {
			if n, err := resident(pid); err == nil {
				all = append(all, n)
			}
			select {
			case <-done:
				look = false
			case <-ticks.C:
			}
		}
		seen <- all
	}()
	return func() []int64 { close(done); return <-seen }
}
