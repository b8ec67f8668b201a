package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flowfile"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "validate flow files; exit 0 clean, 1 warnings with --strict, 2 errors",
		ArgsUsage: "[DIR]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "examples", Usage: "check the flows in the binary instead of a directory"},
			&cli.BoolFlag{Name: "test", Usage: "also run the flow tests (*_test.yaml)"},
			&cli.BoolFlag{Name: "residency", Usage: "also print what each flow carries over which border"},
			&cli.BoolFlag{Name: "online", Usage: "also compare flows with what their systems say of their tables now"},
			&cli.StringFlag{Name: "data", Value: ".patchbay", Usage: "with --online: `DIR` of a patchbay dev, whose sandbox the example connections name"},
			&cli.BoolFlag{Name: "strict", Usage: "warnings count"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: checkFlows,
	}
}

func checkFlows(ctx context.Context, c *cli.Command) error {
	dir := c.Args().First()
	if c.Args().Len() > 1 {
		return usage("check takes one directory, not %d", c.Args().Len())
	}
	files, name, err := flowsToCheck(dir, c.Bool("examples"))
	if err != nil {
		return err
	}
	report, err := check.Dir(files, check.Options{Name: name, Tests: c.Bool("test")})
	var f *fault.Fault
	if errors.As(err, &f) {
		return failure{status: exitUsage, text: f.Text}
	}
	if err != nil {
		return err
	}
	if c.Bool("online") {
		if report, err = app.CheckOnline(ctx, report, c.String("data")); err != nil {
			return err
		}
	}
	out := c.Root().Writer
	errs, warnings := 0, 0
	for _, p := range report.Problems {
		switch p.Severity {
		case flowfile.Error:
			errs++
		case flowfile.Warning:
			warnings++
		case flowfile.Info:
		}
	}
	if c.Bool("json") {
		if err := printReport(out, report, c.Bool("residency")); err != nil {
			return err
		}
	} else {
		for _, p := range report.Problems {
			fmt.Fprintf(out, "%s: %s\n", p.Severity, app.Line(p))
		}
		if c.Bool("residency") {
			printCrossings(out, check.Crossings(report))
			if stay := restrictedIn(report); errs == 0 && len(stay) > 0 {
				fmt.Fprintf(out, "restricted, and carried out of its region by none of these flows: %s\n", strings.Join(stay, ", "))
			}
		}
		fmt.Fprintf(c.Root().ErrWriter, "%s, %s, %s, %s", count(report.Files, "file"), count(len(report.Flows), "flow"), count(errs, "error"), count(warnings, "warning"))
		if report.Tests != nil {
			fmt.Fprintf(c.Root().ErrWriter, "; flow tests: %d passed, %d failed", report.Tests.Passed, report.Tests.Failed)
		}
		fmt.Fprintln(c.Root().ErrWriter)
	}
	switch {
	case errs > 0:
		return failure{status: exitUsage}
	case warnings > 0 && c.Bool("strict"):
		return failure{status: exitFailed}
	}
	return nil
}

func printReport(out io.Writer, report check.Report, residency bool) error {
	if !residency {
		return printJSON(out, report)
	}
	return printJSON(out, struct {
		check.Report
		Crossings []check.Crossing `json:"crossings"`
	}{report, check.Crossings(report)})
}

// printCrossings prints, for each flow and border, which columns cross from where to where.
func printCrossings(out io.Writer, list []check.Crossing) {
	if len(list) == 0 {
		fmt.Fprintln(out, "no flow carries anything over a border")
	} else {
		fmt.Fprintln(out, "what crosses from the system of one region to that of another, key and columns; a column that is not named crosses nowhere:")
	}
	slices.SortStableFunc(list, func(a, b check.Crossing) int {
		return cmp.Or(cmp.Compare(a.Flow, b.Flow), cmp.Compare(app.Border(a), app.Border(b)))
	})
	last := ""
	for _, c := range list {
		if head := c.Flow + ": " + app.Border(c); head != last {
			fmt.Fprintln(out, head)
			last = head
		}
		fmt.Fprintf(out, "  %s → %s: %s\n", c.Source, c.Target, strings.Join(c.Columns, ", "))
	}
}

// restrictedIn are the columns that a directory says may not leave their region, as
// TABLE.COLUMN, sorted.
func restrictedIn(report check.Report) []string {
	named := map[string]bool{}
	for _, f := range report.Flows {
		if f.Plan.Sync != nil {
			for _, column := range f.Plan.Sync.Restricted {
				named[column] = true
			}
		}
	}
	for _, c := range report.Connections {
		for table, t := range c.Tables {
			for _, column := range t.Restricted {
				named[table+"."+column] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// flowsToCheck opens what is to be checked; name stands before file names.
func flowsToCheck(dir string, inBinary bool) (files fs.FS, name string, err error) {
	switch {
	case inBinary && dir != "":
		return nil, "", usage("--examples takes no directory; leave out one of the two")
	case inBinary:
		return app.Examples(), examples, nil
	case dir == "" && !isDir(ownFlows):
		return nil, "", usage("there is no ./%s here; give a directory: patchbay check DIR, or check those in the binary: patchbay check --examples", ownFlows)
	case dir == "":
		dir = ownFlows
	}
	files, err = flowDir(dir)
	return files, dir, err
}

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:      "schema",
		Usage:     "print the JSON Schema of flow files, for editors",
		ArgsUsage: "[flow | connections | tests]",
		Action: func(_ context.Context, c *cli.Command) error {
			schemas := map[string]func() []byte{"": flowfile.Schema, "flow": flowfile.Schema, "connections": flowfile.ConnectionsSchema, "tests": flowfile.TestsSchema}
			schema, ok := schemas[c.Args().First()]
			if !ok || c.Args().Len() > 1 {
				return usage("%q is no kind of file; choose flow, connections or tests", c.Args().First())
			}
			_, err := fmt.Fprintln(c.Root().Writer, string(schema()))
			return err
		},
	}
}
