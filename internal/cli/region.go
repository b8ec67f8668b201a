package cli

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
	"patchbay/internal/config"
)

// regionCommand is what `patchbay dev --regions` runs for each region. Credentials are
// in its environment, and in no argument.
func regionCommand() *cli.Command {
	return &cli.Command{
		Name: "region", Hidden: true,
		Usage: "run the Patchbay of one region for patchbay dev",
		Flags: []cli.Flag{
			regionFlag(),
			&cli.StringFlag{Name: "database", Usage: "PostgreSQL `URL` of the region", Sources: cli.EnvVars("PATCHBAY_DATABASE"), Required: true},
			&cli.StringFlag{Name: "http", Usage: "`HOST:PORT` of API and console, on loopback", Required: true},
			&cli.StringFlag{Name: "temporal", Usage: "`HOST:PORT` of the region's Temporal", Required: true},
			&cli.StringFlag{Name: "ui", Usage: "`URL` of its Web UI"},
			&cli.StringFlag{Name: "data", Usage: "`DIR` of the environment"},
			&cli.StringFlag{Name: "flows", Usage: "`DIR` of flow files (default: the examples in the binary)"},
			&cli.FloatFlag{Name: "speed", Value: 1, Usage: "divide every duration by `N`"},
			&cli.BoolFlag{Name: "verbose", Usage: "log more than warnings"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.String("region") == "" {
				return usage("give --region")
			}
			files, name := app.Examples(), examples
			if dir := c.String("flows"); dir != "" {
				var err error
				if files, err = flowDir(dir); err != nil {
					return err
				}
				name = dir
			}
			return app.Region(ctx, app.RegionOptions{
				Settings: app.Settings{
					Database: c.String("database"), Temporal: c.String("temporal"), Speed: c.Float("speed"), Solo: true, Region: c.String("region"),
					Resolve: config.Resolve, Log: app.Logger(c.Root().ErrWriter, true, c.Bool("verbose")),
				},
				HTTP: c.String("http"), UI: c.String("ui"), Sandbox: os.Getenv("PATCHBAY_SANDBOX"), Data: c.String("data"),
				Flows: files, FlowsName: name, Version: version(), Out: c.Root().ErrWriter,
			})
		},
	}
}
