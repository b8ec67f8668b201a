package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func runsCommand() *cli.Command {
	return &cli.Command{
		Name:      "runs",
		Usage:     "list the latest runs, or show one",
		ArgsUsage: "[RUN]",
		Flags: append(serverFlags(),
			&cli.StringFlag{Name: "flow", Usage: "only runs of `FLOW`"},
			&cli.StringFlag{Name: "status", Usage: "only runs in this `STATUS`"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most `N` runs"},
			&cli.BoolFlag{Name: "cancel", Usage: "cancel RUN, wait until its writes are settled and print the certificate"},
		),
		Action: showRuns,
	}
}

func showRuns(ctx context.Context, c *cli.Command) error {
	r, err := dial(c)
	if err != nil {
		return err
	}
	id := c.Args().First()
	switch {
	case c.Args().Len() > 1:
		return usage("name one run, not %d", c.Args().Len())
	case c.Bool("cancel") && id == "":
		return usage("name the run to cancel: patchbay runs --cancel RUN")
	case c.Bool("cancel"):
		return r.cancelRun(ctx, c, id)
	case id != "":
		var run flow.Run
		if err := r.call(ctx, http.MethodGet, "/v1/runs/"+url.PathEscape(id), nil, nil, &run); err != nil {
			return err
		}
		if c.Bool("json") {
			return printJSON(c.Root().Writer, run)
		}
		for _, s := range run.Progress {
			fmt.Fprintf(c.Root().Writer, "%8s  %-9s %s\n", seconds(s.At.Sub(run.AcceptedAt)), s.Name, s.Note)
		}
		return printRun(c.Root().Writer, c.Root().ErrWriter, r.base, run)
	}
	q := url.Values{"limit": {fmt.Sprint(c.Int("limit"))}}
	for _, filter := range []string{"flow", "status"} {
		if v := c.String(filter); v != "" {
			q.Set(filter, v)
		}
	}
	var page struct {
		Runs []flow.Run `json:"runs"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/runs?"+q.Encode(), nil, nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, page)
	}
	if len(page.Runs) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "No runs yet; start one with `patchbay run FLOW name=value`.")
		return nil
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tFLOW\tSTATUS\tACCEPTED\tTOOK")
	for _, run := range page.Runs {
		took := ""
		if run.ClosedAt != nil {
			took = seconds(run.ClosedAt.Sub(run.AcceptedAt))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", run.RunID, run.Flow, run.Status, run.AcceptedAt.Local().Format(time.DateTime), took)
	}
	return t.Flush()
}

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "tell everything that happened to a business key or a run",
		ArgsUsage: "KEY",
		Flags:     serverFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usage("name one key, for example: patchbay explain AS54888")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			var story struct {
				Key     string       `json:"key"`
				Entries []flow.Entry `json:"entries"`
			}
			if err := r.call(ctx, http.MethodGet, "/v1/explain/"+url.PathEscape(c.Args().First()), nil, nil, &story); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, story)
			}
			if len(story.Entries) == 0 {
				fmt.Fprintf(c.Root().ErrWriter, "Nothing is known of %q.\n", story.Key)
				return nil
			}
			t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "AT\tFLOW\tRUN\tWHAT\tREASON")
			for _, e := range story.Entries {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Flow, e.Run, e.What, e.Reason)
			}
			return t.Flush()
		},
	}
}
