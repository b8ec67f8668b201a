package cli

import (
	"context"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
)

func sandboxCommand() *cli.Command {
	return &cli.Command{
		Name:  "sandbox",
		Usage: "run the stand-in systems alone",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8090", Usage: "`HOST:PORT` to listen on"},
			&cli.IntFlag{Name: "smtp-port", Usage: "`PORT` of its mail server, on the same host; 0 picks a free one"},
			&cli.StringFlag{Name: "database", Usage: "PostgreSQL `URL` of a database of its own", Sources: cli.EnvVars("PATCHBAY_SANDBOX_DATABASE")},
			&cli.BoolFlag{Name: "lean", Usage: "same wire, in memory, without limits and record; needs no database"},
			&cli.FloatFlag{Name: "speed", Value: 1, Usage: "divide every duration by `N`"},
			&cli.StringSliceFlag{Name: "webhook-host", Usage: "let webhooks go to `HOST`, besides this machine; may be repeated"},
		},
		Action: runSandbox,
	}
}

func runSandbox(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if p := c.Int("smtp-port"); p < 0 || p > 65535 {
		return usage("--smtp-port %d is no port", p)
	}
	if c.String("database") == "" && !c.Bool("lean") {
		return usage("the sandbox keeps its rows in PostgreSQL: give --database URL, or --lean to keep nothing (patchbay dev brings both)")
	}
	return app.Sandbox(ctx, app.SandboxOptions{
		Listen: c.String("listen"), SMTPPort: c.Int("smtp-port"), Database: c.String("database"), Lean: c.Bool("lean"), Speed: c.Float("speed"), WebhookHosts: c.StringSlice("webhook-host"), Out: c.Root().ErrWriter,
	})
}
