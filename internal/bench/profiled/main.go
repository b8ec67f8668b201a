// Command profiled is patchbay with a switch for profiles: SIGUSR1 begins a CPU
// profile, SIGUSR2 ends it and leaves cpu.pprof and heap.pprof in the working
// directory. Only the benchmark builds it; the program itself has no such door.
//
// It may import cli and nothing else of Patchbay.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"

	"patchbay/internal/cli"
)

func main() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1, syscall.SIGUSR2)
	go serve(asked)
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}

func serve(asked <-chan os.Signal) {
	var file *os.File
	for s := range asked {
		var err error
		switch {
		case s == syscall.SIGUSR1 && file == nil:
			if file, err = os.Create("cpu.pprof"); err == nil {
				err = pprof.StartCPUProfile(file)
			}
		case s == syscall.SIGUSR2 && file != nil:
			pprof.StopCPUProfile()
			err = errors.Join(file.Close(), heap())
			file = nil
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profiling:", err)
		}
	}
}

// heap writes heap.pprof, which appears when it is whole.
func heap() error {
	f, err := os.Create("heap.pprof.new")
	if err != nil {
		return err
	}
	runtime.GC() // what is live, not what was
	if err := errors.Join(pprof.WriteHeapProfile(f), f.Close()); err != nil {
		return err
	}
	return os.Rename("heap.pprof.new", "heap.pprof")
}
