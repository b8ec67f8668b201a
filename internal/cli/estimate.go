package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
)

func estimateCommand() *cli.Command {
	return &cli.Command{
		Name:      "estimate",
		Usage:     "count what the sources of an event flow told in thirty days, for its section expect",
		ArgsUsage: "FLOW",
		Description: "Asks the change tracking of each source, which gives a record once, with the times when it was made and changed last. A record that " +
			"changed several times is counted once, on the day of its last change, and one that was deleted is not counted: the truth is as much or more. " +
			"It signs in as connections.yaml says and writes nothing there.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "flows", Usage: "`DIR` of flow files (default: ./flows where it exists, else the examples in the binary)"},
			&cli.StringFlag{Name: "data", Value: ".patchbay", Usage: "`DIR` of a patchbay dev, whose sandbox the example connections name"},
			&cli.BoolFlag{Name: "write", Usage: "put the numbers into the flow file; the rest of it stays as it is"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: estimate,
	}
}

func estimate(ctx context.Context, c *cli.Command) error {
	name := c.Args().First()
	if c.Args().Len() != 1 || name == "" {
		return usage("name one flow, for example: patchbay estimate case-notifications")
	}
	files, dir, err := flowFiles(c.String("flows"))
	if err != nil {
		return err
	}
	if c.Bool("write") && dir == examples {
		return usage("--write changes a file, and the examples are in the binary; name a directory with --flows DIR")
	}
	e, err := app.EstimateFlow(ctx, app.EstimateOptions{Flows: files, FlowsName: dir, Flow: name, Data: c.String("data"), Now: time.Now()})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, e)
	} else {
		err = printEstimate(c, e)
	}
	if err != nil || !c.Bool("write") {
		return err
	}
	text, err := e.Filled()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, filepath.Base(e.File))
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // a flow file, which has its mode already
		return usage("%s cannot be written: %v", path, err)
	}
	fmt.Fprintf(c.Root().ErrWriter, "%s says so now; look at it, and apply it.\n", path)
	return nil
}

func printEstimate(c *cli.Command, e app.Estimate) error {
	out, aside := c.Root().Writer, c.Root().ErrWriter
	t := tabwriter.NewWriter(aside, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SOURCE\tRECORDS\tCHANGES IN 30 DAYS\tTHAT THE TRIGGERS TAKE\t")
	for _, s := range e.Sources {
		if s.Problem != "" {
			fmt.Fprintf(t, "%s\tnot counted: %s\t\t\t\n", s.Source, s.Problem)
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d\tat most %d\t\n", s.Source, s.Rows, s.Changes, s.Matched)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(aside, strings.TrimSpace(`
Change tracking gives a record once: one that changed several times is counted once, on the day of its last change, and
one that was deleted not at all. The truth is as much or more. Whether a change was of a column that a trigger selects is
not told either, so the triggers take at most as many.`))
	_, err := fmt.Fprintf(out, "expect: { per_day: %d, per_month: %d }\n", e.PerDay, e.PerMonth)
	return err
}
