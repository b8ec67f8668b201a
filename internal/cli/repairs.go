package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func repairsCommand() *cli.Command {
	return &cli.Command{
		Name: "repairs", ArgsUsage: "[RUN [STEP]]",
		Usage: "list what services wrote and nobody could take back, or say that it has been put right",
		Description: "A step whose undo was refused, or of which nobody knows whether it took effect, and each step of a run that was ended from outside, is a task " +
			"for a person: put it right in its system, then say so with --settle. Patchbay writes nothing of it. Without STEP all steps of RUN are meant.",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.StringFlag{Name: "flow", Usage: "only of `FLOW`"},
			&cli.StringFlag{Name: "settle", Usage: "RUN, or its STEP, has been put right: `NOTE` says what was done"},
			&cli.BoolFlag{Name: "settled", Usage: "list those that have been put right, the newest first"},
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			args := c.Args().Slice()
			switch {
			case len(args) > 2:
				return usage("name one run, and one of its steps: patchbay repairs RUN STEP")
			case c.IsSet("settle") && len(args) == 0:
				return usage("name the run that has been put right: patchbay repairs --settle NOTE RUN [STEP]")
			case c.IsSet("settle") && strings.TrimSpace(c.String("settle")) == "":
				return usage("--settle needs a note, for example: patchbay repairs --settle 'order 4711 was rejected by hand' RUN sale")
			case len(args) == 2 && !c.IsSet("settle"):
				return usage("a step is named to settle it: patchbay repairs --settle NOTE RUN STEP")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			if c.IsSet("settle") {
				return r.settle(ctx, c, args)
			}
			return r.repairs(ctx, c, args)
		},
	}
}

func (r *remote) settle(ctx context.Context, c *cli.Command, args []string) error {
	body := map[string]string{"run": args[0], "note": c.String("settle")}
	if len(args) > 1 {
		body["step"] = args[1]
	}
	var got struct {
		Settled []string `json:"settled"`
	}
	if err := r.call(ctx, http.MethodPost, "/v1/repairs/settle", nil, body, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	fmt.Fprintf(c.Root().Writer, "put right: %s of run %s\n", strings.Join(got.Settled, ", "), args[0])
	return nil
}

func (r *remote) repairs(ctx context.Context, c *cli.Command, args []string) error {
	q := url.Values{"limit": {"500"}}
	if name := c.String("flow"); name != "" {
		q.Set("flow", name)
	}
	if len(args) > 0 {
		q.Set("run", args[0])
	}
	if c.Bool("settled") {
		q.Set("settled", "true")
	}
	var page struct {
		Repairs []flow.Repair `json:"repairs"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/repairs?"+q.Encode(), nil, nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, page)
	}
	out := c.Root().ErrWriter
	if len(page.Repairs) == 0 {
		fmt.Fprintln(out, "Nothing has to be put right. A step of a service whose undo is refused does.")
		return nil
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tFLOW\tSTEP\tSTANDS\tSINCE\tWHY")
	for _, one := range page.Repairs {
		why := one.Problem.Detail
		if s := one.Settled; s != nil {
			why = "put right by " + s.By + ": " + s.Note
		}
		fmt.Fprintln(t, strings.Join([]string{one.RunID, one.Flow, one.Step, plain(repairWords(one)), one.Since.Local().Format(time.DateTime), cut(plain(why), 100)}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !c.Bool("settled") {
		fmt.Fprintln(out, "\nWhat you can do:\n  put it right in its system, then: patchbay repairs --settle NOTE RUN STEP")
	}
	if slices.ContainsFunc(page.Repairs, func(one flow.Repair) bool { return one.Goes && one.Settled == nil }) {
		fmt.Fprintln(out, "  patchbay redrive RUN\n      of a run that was ended from outside: it goes on where it was, and repeats nothing")
	}
	return nil
}

// repairWords say what stands: "sap.sale 4711, in doubt".
func repairWords(r flow.Repair) string {
	const most = 3
	keys := strings.Join(r.Keys[:min(len(r.Keys), most)], "; ")
	if n := len(r.Keys) - most; n > 0 {
		keys += fmt.Sprintf(" and %d more", n)
	}
	text := strings.TrimSpace(r.Target + " " + keys)
	if r.InDoubt {
		text += ", in doubt"
	}
	return text
}
