package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cli.Command{
		Name:           "patchbay",
		Usage:          "durable integrations between business systems",
		Writer:         stdout,
		ErrWriter:      stderr,
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError: func(_ context.Context, c *cli.Command, err error, _ bool) error {
			return usage("%s: %v", c.FullName(), err)
		},
		CommandNotFound: func(_ context.Context, _ *cli.Command, name string) {
			fmt.Fprintf(stderr, "patchbay: there is no command %q; patchbay --help lists them\n", name)
		},
		Commands: []*cli.Command{
			devCommand(), serveCommand(), workerCommand(), sandboxCommand(), applyCommand(),
			checkCommand(), schemaCommand(),
			runCommand(), runsCommand(), explainCommand(),
		},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("there is no command %q; patchbay --help lists them", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
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
	if known := new(fault.Fault); errors.As(err, &known) {
		fmt.Fprintln(stderr, "patchbay: "+known.Text)
		return exitFailed
	}
	fmt.Fprintln(stderr, "patchbay: "+err.Error())
	return exitFailed
}
