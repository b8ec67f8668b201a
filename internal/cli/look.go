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

func runsCommand() *cli.Command {
	return &cli.Command{
		Name:      "runs",
		Usage:     "list the latest runs, or show one",
		ArgsUsage: "[RUN]",
		Flags: append(serverFlags(),
			&cli.StringFlag{Name: "flow", Usage: "only runs of `FLOW`"},
			&cli.StringFlag{Name: "status", Usage: "only runs in this `STATUS`: " + strings.Join(statuses, ", ")},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most `N` runs, 1 to 200"},
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
		return r.showRun(ctx, c, run)
	}
	return r.listRuns(ctx, c)
}

// showRun succeeds however the run ended: it was found.
func (r *remote) showRun(ctx context.Context, c *cli.Command, run flow.Run) error {
	out, note := c.Root().Writer, c.Root().ErrWriter
	if !c.Bool("json") {
		for i := range run.Progress {
			fmt.Fprintln(out, step(run, i))
		}
		if run.Waiting != "" {
			fmt.Fprintln(note, plain(run.Waiting))
		}
	}
	if err := r.printRun(ctx, c, run); err != nil {
		return err
	}
	if text := unsuccessful(run); text != "" && !c.Bool("json") {
		fmt.Fprintln(note, text)
	}
	return nil
}

var statuses = []string{
	string(flow.Accepted), string(flow.Running), string(flow.Parked),
	string(flow.Completed), string(flow.Failed), string(flow.Cancelled),
}

func (r *remote) listRuns(ctx context.Context, c *cli.Command) error {
	if n := c.Int("limit"); n < 1 || n > 200 {
		return usage("--limit %d: give a whole number from 1 to 200", n)
	}
	if s := c.String("status"); s != "" && !slices.Contains(statuses, s) {
		return usage("--status %s: give one of %s", s, strings.Join(statuses, ", "))
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
		return r.noRuns(ctx, c)
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

// noRuns says why a list is empty.
func (r *remote) noRuns(ctx context.Context, c *cli.Command) error {
	text := "No runs yet; start one with `patchbay run FLOW name=value`."
	if name := c.String("flow"); name != "" {
		if err := r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(name), nil, nil, &struct{}{}); err != nil {
			return err // most likely that there is no such flow
		}
		text = fmt.Sprintf("No run of %s yet; start one with `patchbay run %s name=value`.", name, name)
	}
	if status := c.String("status"); status != "" {
		text = "No such run is " + status + "."
	}
	fmt.Fprintln(c.Root().ErrWriter, text)
	return nil
}
