package cli

import (
	"context"
	"fmt"
	"net"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap/zapcore"

	"patchbay/internal/config"
	"patchbay/internal/sandbox"
	"patchbay/internal/telemetry"
)

func sandboxCommand() *cli.Command {
	return &cli.Command{
		Name:  "sandbox",
		Usage: "run the stand-in systems alone",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8090", Usage: "`HOST:PORT` to listen on"},
			&cli.StringFlag{Name: "database", Usage: "PostgreSQL `URL` of a database of its own", Sources: cli.EnvVars("PATCHBAY_SANDBOX_DATABASE")},
			&cli.BoolFlag{Name: "lean", Usage: "same wire, in memory, without limits and record; needs no database"},
			&cli.FloatFlag{Name: "speed", Value: 1, Usage: "divide every duration by `N`"},
		},
		Action: runSandbox,
	}
}

func runSandbox(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.String("database") == "" && !c.Bool("lean") {
		return usage("the sandbox keeps its rows in PostgreSQL: give --database URL, or --lean to keep nothing (patchbay dev brings both)")
	}
	database, err := config.Resolve(c.String("database"))
	if err != nil {
		return err
	}
	var listening net.ListenConfig
	ln, err := listening.Listen(ctx, "tcp", c.String("listen"))
	if err != nil {
		return usage("cannot listen on %s; choose another port with --listen", c.String("listen"))
	}
	server, err := sandbox.New(sandbox.Options{
		DatabaseURL: database, Lean: c.Bool("lean"), Speed: c.Float("speed"),
		Logger: telemetry.NewLogger(c.Root().ErrWriter, false, zapcore.WarnLevel),
	})
	if err != nil {
		_ = ln.Close() // what went wrong is told below
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer server.Close()
	fmt.Fprintf(c.Root().ErrWriter, "The sandbox is at http://%s/_sandbox/\n", ln.Addr())
	return server.Run(ctx, ln)
}
