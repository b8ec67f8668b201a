package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// identity names a process for as long as the machine runs: a pid alone is
// given to another program one day.
type identity struct {
	PID       int    `json:"pid"`
	StartTime string `json:"start_time"` // as the system tells it; compared, never read
}

// alive reports whether the very process still runs; one that has ended and is
// not yet reaped does not.
func (i identity) alive() bool {
	if i.PID <= 0 {
		return false
	}
	started, running := startTime(i.PID)
	return running && started == i.StartTime
}

// signal sends sig to the very process, or to nobody.
func (i identity) signal(sig syscall.Signal) {
	if i.alive() {
		_ = syscall.Kill(i.PID, sig) // it may have ended since
	}
}

// end asks the process to stop and kills it when ctx ends first.
func (i identity) end(ctx context.Context, ask syscall.Signal) error {
	i.signal(ask)
	if i.awaitEnd(ctx) {
		return nil
	}
	i.signal(syscall.SIGKILL)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if !i.awaitEnd(last) {
		return fmt.Errorf("process %d does not end", i.PID)
	}
	return nil
}

// offspring gives the processes that the very process has started and that run.
func (i identity) offspring() (all []identity) {
	if !i.alive() {
		return nil
	}
	for _, pid := range childrenOf(i.PID) {
		if started, running := startTime(pid); running {
			all = append(all, identity{PID: pid, StartTime: started})
		}
	}
	return all
}

func (i identity) awaitEnd(ctx context.Context) bool {
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for i.alive() {
		select {
		case <-ctx.Done():
			return !i.alive()
		case <-ticker.C:
		}
	}
	return true
}

// The child waits behind this gate until its pid is on record, and ends if this
// process does not come that far: there is no moment at which a kill would leave
// a child that nobody knows of. What the child writes is for its own user.
const gate = `umask 077; read -r word && [ "$word" = go ] && exec "$@" </dev/null`

// launch starts a program in a session of its own, so that neither an interrupt
// at the terminal nor the end of this process reaches it. It runs only after
// record has returned without an error.
func launch(s spec, log *os.File, record func(identity) error) (identity, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return identity{}, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command("/bin/sh", slices.Concat([]string{"-c", gate, "sh", s.path}, s.args)...) //nolint:noctx // it outlives every context of ours
	cmd.Dir = "/"                                                                                // pins no directory, and every user may enter it
	cmd.Env = append(environment(), s.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.as}
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		return identity{}, fmt.Errorf("starting %s: %w", s.path, err)
	}
	go func() { _ = cmd.Wait() }() // reaps; whoever needs to know asks alive
	started, running := startTime(cmd.Process.Pid)
	if !running {
		return identity{}, errors.New("the child ended before it began")
	}
	id := identity{PID: cmd.Process.Pid, StartTime: started}
	if err := record(id); err != nil {
		return identity{}, err
	}
	if _, err := io.WriteString(out, "go\n"); err != nil {
		return identity{}, fmt.Errorf("letting %s go: %w", s.path, err)
	}
	return id, nil
}

// environment is what children see: nothing that a connection's secret may
// stand in, and nothing that would configure PostgreSQL or Temporal.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GOCOVERDIR":
			env = append(env, v)
		}
	}
	// The children are small beside the machine: they collect half as often.
	return append(env, "LC_ALL=C", "GOGC=200")
}
