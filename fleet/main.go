package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.uber.org/zap/zapcore"

	"patchbay/calculator"
	"patchbay/internal/fault"
	"patchbay/internal/telemetry"
)

// Main is the whole of a program that hosts calculators of its own, and returns its exit status:
// 0 when it was asked to end, 1 when it failed, 2 when the arguments are wrong.
//
//	func main() { os.Exit(fleet.Main(os.Args, os.Stdout, os.Stderr, rent.V1(), rent.V2())) }
func Main(args []string, stdout, stderr io.Writer, calculators ...calculator.Calculator) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var o Options
	var queues string
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&queues, "queues", "", "`names` of the compute queues to take tasks from, with commas; required")
	flags.StringVar(&o.Temporal, "temporal", "", "`HOST:PORT` of Temporal (default: the environment configuration of its SDK)")
	flags.StringVar(&o.Namespace, "namespace", "", "Temporal `namespace`")
	flags.StringVar(&o.HTTP, "http", "", "`HOST:PORT` of /metrics, /healthz and /readyz; empty: none")
	flags.IntVar(&o.Tuning.Slots, "slots", 0, "`number` of computations at a time (default: as many as processors)")
	flags.IntVar(&o.Tuning.Batch, "batch-slots", 0, "`number` of those that nobody waits for, besides (default: half as many, at least one)")
	contracts := flags.Bool("contracts", false, "print the contracts of the calculators and end")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *contracts {
		for _, c := range calculators {
			fmt.Fprint(stdout, c.Contract())
		}
		return 0
	}
	o.Queues = strings.FieldsFunc(queues, func(r rune) bool { return r == ',' || r == ' ' })
	if len(o.Queues) == 0 || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "%s: name the queues to take tasks from, as in --queues acme, and no other arguments; --help lists the flags\n", args[0])
		return 2
	}
	o.Log = telemetry.NewLogger(stderr, true, zapcore.InfoLevel)
	err := Run(ctx, o, calculators...)
	if err == nil {
		return 0
	}
	f := fault.Of(err)
	fmt.Fprintf(stderr, "%s: %s\n", args[0], f.Text)
	if f.Class == fault.Invalid {
		return 2
	}
	return 1
}
