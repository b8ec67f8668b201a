package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

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
			&cli.BoolFlag{Name: "strict", Usage: "warnings count"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: checkFlows,
	}
}

func checkFlows(_ context.Context, c *cli.Command) error {
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
	out := c.Root().Writer
	errs, warnings := 0, 0
	for _, p := range report.Problems {
		if p.Severity == flowfile.Error {
			errs++
		} else {
			warnings++
		}
	}
	if c.Bool("json") {
		if err := printJSON(out, report); err != nil {
			return err
		}
	} else {
		for _, p := range report.Problems {
			fmt.Fprintf(out, "%s: %s\n", p.Severity, app.Line(p))
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
