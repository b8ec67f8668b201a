package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"

	"patchbay/internal/fault"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked did not succeed
	exitUsage  = 2 // the arguments or the files are wrong
)

// failure ends a command with an exit status; an empty text prints nothing more.
type failure struct {
	status int
	text   string
}

func (f failure) Error() string { return f.text }

// usage is a mistake in the arguments.
func usage(format string, args ...any) error {
	return failure{status: exitUsage, text: fmt.Sprintf(format, args...)}
}

// Main runs the command line and returns the exit status of the process.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return execute(ctx, args, stdout, stderr)
}

// execute runs the command line until ctx ends.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cli.Command{
		Name:           "patchbay",
		Usage:          "durable integrations between business systems",
		Description:    "patchbay COMMAND --help says more of a command. Exit status: 0 done, 1 it did not succeed, 2 the arguments or the files are wrong.",
		Version:        strings.TrimPrefix(version(), "build "), // it is printed after the word "version"
		Writer:         stdout,
		ErrWriter:      stderr,
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Commands: []*cli.Command{
			devCommand(), regionCommand(), serveCommand(), workerCommand(), sandboxCommand(), applyCommand(),
			checkCommand(), schemaCommand(), mapCommand(), impactCommand(),
			runCommand(), doctorCommand(), runsCommand(), explainCommand(), deadCommand(), redriveCommand(), repairsCommand(),
			estimateCommand(), drillCommand(), capsuleCommand(),
			planCommand(), schedulesCommand(), backfillCommand(), holdCommand(), resumeCommand(), stopsCommand(), paidCommand(), shadowsCommand(), regionsCommand(), conflictsCommand(), decideCommand(),
		},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("there is no command %q; patchbay --help lists them", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	root.OnUsageError = misused
	for _, c := range root.Commands {
		c.OnUsageError = misused // the library does not hand it down
	}
	err := root.Run(ctx, args)
	if err == nil {
		return exitOK
	}
	var f failure
	if errors.As(err, &f) {
		if f.text != "" {
			fmt.Fprintln(stderr, "patchbay: "+f.text)
		}
		return f.status
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitFailed
	}
	if topic := cli.ExitCoder(nil); errors.As(err, &topic) { // of `help`
		fmt.Fprintln(stderr, "patchbay: there is no such command; patchbay --help lists them")
		return exitUsage
	}
	if known := new(fault.Fault); errors.As(err, &known) {
		fmt.Fprintln(stderr, "patchbay: "+known.Text)
		if known.Class == fault.Invalid {
			return exitUsage
		}
		return exitFailed
	}
	fmt.Fprintln(stderr, "patchbay: "+err.Error())
	return exitFailed
}

// misused makes one line of what the library has to say of a command line.
func misused(_ context.Context, c *cli.Command, err error, _ bool) error {
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: "); ok {
		text = "there is no flag --" + strings.TrimLeft(flag, "-")
	}
	text = strings.Replace(text, " for flag -", " for --", 1)
	if _, names, ok := strings.Cut(text, "Required flag"); ok { // "database, keys" not set
		names = strings.Trim(strings.TrimSuffix(strings.TrimPrefix(names, "s"), " not set"), ` "`)
		text = "give --" + strings.ReplaceAll(names, ", ", " and --")
	}
	if i := strings.Index(text, ": strconv."); i >= 0 {
		text = text[:i]
	}
	return usage("%s; see %s --help", text, c.FullName())
}
