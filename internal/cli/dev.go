package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
	"patchbay/internal/config"
)

func devCommand() *cli.Command {
	return &cli.Command{
		Name:  "dev",
		Usage: "run everything on this machine: PostgreSQL, Temporal, sandbox, worker, API, console",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "http", Value: "127.0.0.1:8080", Usage: "`HOST:PORT` of API and console, on loopback; port 0 picks a free one"},
			&cli.IntFlag{Name: "temporal-port", Value: 7233, Usage: "`PORT` of Temporal; 0 picks a free one"},
			&cli.IntFlag{Name: "ui-port", Value: 8233, Usage: "`PORT` of the Temporal Web UI; 0 picks a free one"},
			&cli.IntFlag{Name: "sandbox-port", Value: 8090, Usage: "`PORT` of the sandbox; 0 picks a free one"},
			&cli.IntFlag{Name: "smtp-port", Usage: "`PORT` of the sandbox's mail server; 0 picks a free one"},
			&cli.StringFlag{Name: "data", Value: ".patchbay", Usage: "`DIR` for data, logs and dev.json"},
			&cli.BoolFlag{Name: "fresh", Usage: "begin with empty data"},
			&cli.StringFlag{Name: "flows", Usage: "`DIR` of flow files (default: ./flows where it exists, else the examples in the binary)"},
			&cli.FloatFlag{Name: "speed", Value: 1, Usage: "divide every duration by `N`"},
			&cli.StringFlag{Name: "regions", Usage: "run a Patchbay for each of these regions too, such as `de,fr,ch`, each with a database, a Temporal and credentials of its own"},
			&cli.StringFlag{Name: "keys", Usage: "`FILE` of bearer keys, a line each: name, SHA-256, role: other people than dev, who is whoever sends none"},
			&cli.BoolFlag{Name: "lean", Usage: "sandbox without limits and record, for benchmarks"},
			&cli.StringFlag{Name: "database", Usage: "`URL` of a PostgreSQL to use instead of a private one", Sources: cli.EnvVars("PATCHBAY_DATABASE")},
			&cli.StringFlag{Name: "temporal", Usage: "`HOST:PORT` of a Temporal to use instead of a development server", Sources: cli.EnvVars("TEMPORAL_ADDRESS")},
			&cli.StringSliceFlag{Name: "queues", Usage: "`NAMES` of the task queues to work for: " + app.MainQueue + " alone leaves computations to workers that are started beside it (default: all)"},
			&cli.BoolFlag{Name: "verbose", Usage: "log more than warnings"},
		},
		Action: runDev,
	}
}

func runDev(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	speed := c.Float("speed")
	if speed < 1 || speed > 100_000 {
		return usage("--speed %g: durations are divided by it; give 1 or more", speed)
	}
	for _, name := range []string{"temporal-port", "ui-port", "sandbox-port", "smtp-port"} {
		if p := c.Int(name); p < 0 || p > 65535 {
			return usage("--%s %d is no port", name, p)
		}
	}
	queues := c.StringSlice("queues")
	if len(queues) > 0 && !slices.Contains(queues, app.MainQueue) {
		return usage("--queues: patchbay dev works for the queue %s; name it, too", app.MainQueue)
	}
	files, name, err := flowFiles(c.String("flows"))
	if err != nil {
		return err
	}
	regions, err := regionNames(c, files, name)
	if err != nil {
		return err
	}
	dir := ""
	if name != examples {
		if dir, err = filepath.Abs(name); err != nil {
			return err
		}
	}
	options := app.DevOptions{
		Regions: regions, FlowsDir: dir, Dir: c.String("data"), Fresh: c.Bool("fresh"), HTTP: c.String("http"),
		TemporalPort: c.Int("temporal-port"), UIPort: c.Int("ui-port"), SandboxPort: c.Int("sandbox-port"), SMTPPort: c.Int("smtp-port"),
		Database: c.String("database"), Temporal: c.String("temporal"), Speed: speed, Lean: c.Bool("lean"), Queues: queues,
		Flows: files, FlowsName: name, Version: version(), Verbose: c.Bool("verbose"), Out: c.Root().ErrWriter,
	}
	if file := c.String("keys"); file != "" {
		if options.Keys, err = config.ReadKeys(file); err != nil {
			return err
		}
	}
	return app.Dev(ctx, options)
}

// regionNames reads --regions; they are those that the flows share records between.
func regionNames(c *cli.Command, files fs.FS, dir string) ([]string, error) {
	if !c.IsSet("regions") {
		return nil, nil
	}
	known, err := app.Regions(files)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, usage("--regions: no flow of %s shares records between regions (pattern: synchronization)", dir)
	}
	var names []string
	for name := range strings.SplitSeq(c.String("regions"), ",") {
		switch name = strings.TrimSpace(name); {
		case !slices.Contains(known, name):
			return nil, usage("--regions %s: %q is no region of the flows in %s; give some of %s", c.String("regions"), name, dir, strings.Join(known, ","))
		case slices.Contains(names, name):
			return nil, usage("--regions %s names %s twice", c.String("regions"), name)
		}
		names = append(names, name)
	}
	return names, nil
}

// ownFlows is the directory of flows that commands use when none is named.
const ownFlows = "flows"

// examples is what messages call the flows in the binary.
const examples = "examples"

// flowFiles opens a directory of flows; with no dir the one at hand, else the
// examples. name stands before file names in messages.
func flowFiles(dir string) (files fs.FS, name string, err error) {
	if dir == "" {
		if _, err := os.Stat(filepath.Join(ownFlows, "connections.yaml")); err != nil {
			return app.Examples(), examples, nil
		}
		dir = ownFlows
	}
	files, err = flowDir(dir)
	return files, dir, err
}

// flowDir opens a directory of flows.
func flowDir(dir string) (fs.FS, error) {
	if isDir(dir) {
		return os.DirFS(dir), nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil, usage("%s is one file; a flow is read with its connections, so give the directory: %s", dir, filepath.Dir(dir))
	}
	return nil, usage("%s is no directory of flow files", dir)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func noArguments(c *cli.Command) error {
	if c.Args().Present() {
		return usage("%s takes no argument %q; see %s --help", c.Name, c.Args().First(), c.FullName())
	}
	return nil
}

// version names the build for people.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return fmt.Sprintf("build %s", app.Build())
}
