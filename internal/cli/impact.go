package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func impactCommand() *cli.Command {
	return &cli.Command{
		Name: "impact", ArgsUsage: "ITEM [DIR]",
		Usage:       "name every flow and step that a change of a column, table, connection, credential or called flow touches",
		Description: "ITEM is CONNECTION.TABLE.COLUMN, CONNECTION.TABLE, CONNECTION, the name of a credential (SAP_PASSWORD, env:SAP_PASSWORD), or a flow that others call. A table may be called as its system calls it: sap.A_SalesOrder.SoldToParty. No server is needed.",
		Flags:       dirFlags(),
		Action: func(_ context.Context, c *cli.Command) error {
			if n := c.Args().Len(); n < 1 || n > 2 {
				return usage("name what changes: patchbay impact ITEM [DIR], for example patchbay impact sap.orders.SoldToParty")
			}
			index, err := indexOf(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			found, err := index.Impact(c.Args().First())
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, found)
			}
			printImpact(c.Root().Writer, found)
			return nil
		},
	}
}

func mapCommand() *cli.Command {
	return &cli.Command{
		Name: "map", ArgsUsage: "[DIR]",
		Usage:       "draw flows, the systems behind connections, tables and calls, as a graph in DOT or JSON",
		Description: "patchbay map | dot -Tsvg > map.svg makes a picture with Graphviz. No server is needed.",
		Flags:       append(dirFlags(), &cli.BoolFlag{Name: "dot", Usage: "print DOT, which is the default"}),
		Action: func(_ context.Context, c *cli.Command) error {
			switch {
			case c.Args().Len() > 1:
				return usage("map takes one directory, not %d", c.Args().Len())
			case c.Bool("dot") && c.Bool("json"):
				return usage("give --dot or --json, one of them")
			}
			index, err := indexOf(c, c.Args().First())
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, index.Map())
			}
			printDOT(c.Root().Writer, index.Map())
			return nil
		},
	}
}

func dirFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "examples", Usage: "look at the flows in the binary instead of a directory"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON"},
	}
}

// indexOf indexes the flows of a directory. Those that do not compile are not in it, and
// that is said.
func indexOf(c *cli.Command, dir string) (*check.Index, error) {
	files, name, err := flowsToCheck(dir, c.Bool("examples"))
	if err != nil {
		return nil, err
	}
	report, err := check.Dir(files, check.Options{Name: name})
	var f *fault.Fault
	if errors.As(err, &f) {
		return nil, failure{status: exitUsage, text: f.Text}
	}
	if err != nil {
		return nil, err
	}
	if broken := report.Broken(); len(broken) > 0 {
		fmt.Fprintf(c.Root().ErrWriter, "not looked into, for they have errors (patchbay check %s lists them): %s\n", name, strings.Join(broken, ", "))
	}
	return check.NewIndex(report), nil
}

func printImpact(w io.Writer, found flow.Impact) {
	places := 0
	for _, f := range found.Flows {
		places += len(f.Steps)
	}
	fmt.Fprintf(w, "%s: %s, %s\n", strings.Join(found.Means, "; "), count(len(found.Flows), "flow"), count(places, "place"))
	for _, p := range found.Declared {
		fmt.Fprintf(w, "declared in %s:%d:%d\n", p.File, p.Line, p.Col)
	}
	for _, f := range found.Flows {
		fmt.Fprintf(w, "\n%s (%s)\n", f.Flow, f.Pattern)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, s := range f.Steps {
			fmt.Fprintf(t, "  %s:%d:%d\t%s\t%s\t%s\n", s.File, s.Line, s.Col, s.Step, s.How, s.Item)
		}
		_ = t.Flush()
	}
	if len(found.Reaches) > 0 {
		fmt.Fprintln(w, "\nits values get to:")
		for _, r := range found.Reaches {
			fmt.Fprintf(w, "  %s, by %s\n", r.Item, r.Flow)
		}
	}
}

// printDOT prints a graph as Graphviz reads it: a cluster for each connection with its
// tables, and flows between them.
func printDOT(w io.Writer, m flow.Map) {
	fmt.Fprintln(w, "digraph patchbay {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=10];\n  edge [fontname=\"sans-serif\", fontsize=8];")
	tables := map[string][]string{}
	names := map[string]string{}
	for _, e := range m.Edges {
		if e.How == "has" {
			tables[e.From] = append(tables[e.From], e.To)
		}
	}
	for _, n := range m.Nodes {
		names[n.ID] = n.Name
	}
	for _, n := range m.Nodes {
		switch n.Kind {
		case "flow":
			fmt.Fprintf(w, "  %s [shape=box, style=\"rounded,bold\", label=%s, tooltip=%s];\n", quoted(n.ID), quoted(n.Name+"\n"+string(n.Pattern)), quoted(n.Summary))
		case "event":
			fmt.Fprintf(w, "  %s [shape=cds, label=%s];\n", quoted(n.ID), quoted(n.Name))
		case "connection":
			label := n.Name + " (" + n.System + ")"
			if n.Region != "" {
				label += " in " + n.Region
			}
			fmt.Fprintf(w, "  subgraph %s {\n    label=%s; style=rounded;\n", quoted("cluster "+n.ID), quoted(label))
			for _, id := range tables[n.ID] {
				fmt.Fprintf(w, "    %s [shape=cylinder, label=%s];\n", quoted(id), quoted(strings.TrimPrefix(names[id], n.Name+".")))
			}
			fmt.Fprintln(w, "  }")
		}
	}
	for _, e := range m.Edges {
		if e.How != "has" {
			fmt.Fprintf(w, "  %s -> %s [label=%s];\n", quoted(e.From), quoted(e.To), quoted(e.How))
		}
	}
	fmt.Fprintln(w, "}")
}

// quoted is a text as DOT has it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
