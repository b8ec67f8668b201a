// Command with runs a command beside one PostgreSQL and one Temporal that all of
// its tests share, and exits as the command does:
//
//	go run ./internal/devenv/testenv/with -- go test ./...
//
// The command finds them by the variables that package testenv names. Variables
// that are set already win: what they name is used and not started. Everything
// ends with this process, a kill -9 included.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"patchbay/internal/devenv"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: with -- COMMAND [ARGUMENT…]")
		os.Exit(2)
	}
	status, err := run(args)
	if err != nil {
		text := err.Error()
		if f := new(fault.Fault); errors.As(err, &f) {
			text = f.Text
		}
		fmt.Fprintln(os.Stderr, "with: "+text)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	// The command is in our process group and gets a terminal's interrupt itself;
	// we outlive it to put things away.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "patchbay-with-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	env, err := devenv.Start(ctx, devenv.Options{
		Dir: dir, Scratch: true,
		Database: os.Getenv(testenv.DatabaseVar), Temporal: os.Getenv(testenv.TemporalVar),
		Progress: func(line string) { fmt.Fprintln(os.Stderr, "with: "+line) },
	})
	if err != nil {
		return 0, err
	}
	release, err := guard(env)
	if err == nil {
		status, err = command(ctx, args, env.Info())
	}
	ending, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = errors.Join(err, env.Close(ending))
	release()
	return status, err
}

func command(ctx context.Context, args []string, info devenv.Info) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	metrics := info.Metrics
	if metrics == "" { // of a Temporal that was given
		metrics = os.Getenv(testenv.MetricsVar)
	}
	cmd.Env = append(os.Environ(),
		testenv.DatabaseVar+"="+info.Database, testenv.TemporalVar+"="+info.Temporal, testenv.MetricsVar+"="+metrics)
	err := cmd.Run()
	switch exit := new(exec.ExitError); {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	}
	return 1, err
}

// guard starts a shell that outlives a kill of this process and then ends the
// children: it waits for the end of a pipe that we hold. release sends it home.
func guard(env *devenv.Env) (release func(), err error) {
	const script = `read -r word; [ "$word" = done ] && exit
dir=$1; cluster=$2; shift 2; kill -QUIT "$@"; sleep 1; kill -KILL "$@"; rm -rf "$dir"; [ -z "$cluster" ] || rm -rf "$cluster"`
	args := []string{"-c", script, "sh", env.Dir(), env.Info().Cluster}
	for _, pid := range env.PIDs() {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = filepath.Dir(env.Dir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return func() {}, err
	}
	if err := cmd.Start(); err != nil {
		return func() {}, err
	}
	return func() {
		_, _ = pipe.Write([]byte("done\n"))
		_ = cmd.Wait()
	}, nil
}
