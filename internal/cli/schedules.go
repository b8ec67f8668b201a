package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
	"patchbay/internal/flow"
)

func schedulesCommand() *cli.Command {
	return &cli.Command{
		Name: "schedules", ArgsUsage: "[FLOW]",
		Usage: "show schedules, or what became of the slots of one",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.StringFlag{Name: "since", Value: "24h", Usage: "slots of `TIME` or later: 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d"},
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			r, err := dial(c)
			if err != nil {
				return err
			}
			switch c.Args().Len() {
			case 0:
				return r.listSchedules(ctx, c)
			case 1:
				return r.listSlots(ctx, c, c.Args().First())
			}
			return usage("schedules takes one flow, not %d", c.Args().Len())
		},
	}
}

func (r *remote) listSchedules(ctx context.Context, c *cli.Command) error {
	var page struct {
		Schedules []flow.Rhythm `json:"schedules"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/schedules", nil, nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, page)
	}
	if len(page.Schedules) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "No flow has a schedule.")
		return nil
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FLOW\tSCHEDULE\tNEXT\tRAN\tLATE\tSKIPPED\tMISSED\t")
	for _, s := range page.Schedules {
		next := "none"
		if s.Paused != nil {
			next = "paused: " + plain(s.Paused.Reason)
		} else if len(s.Next) > 0 {
			next = s.Next[0].Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t\n", s.Flow, plain(s.Words), next,
			s.Outcomes[flow.SlotRan], s.Outcomes[flow.SlotLate], s.Outcomes[flow.SlotOverlap], s.Outcomes[flow.SlotMissed])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range page.Schedules {
		if s.Forecast != nil && s.Forecast.Warn {
			fmt.Fprintln(c.Root().Writer, plain(s.Forecast.Text))
		}
	}
	return nil
}

func (r *remote) listSlots(ctx context.Context, c *cli.Command, name string) error {
	since, ok := flow.Moment(c.String("since"), time.Now())
	if !ok {
		return badTime("since", c.String("since"))
	}
	var all []flow.Slot
	for {
		var page struct {
			Slots []flow.Slot `json:"slots"`
		}
		query := url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}, "limit": {"200"}}
		if err := r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(name)+"/slots?"+query.Encode(), nil, nil, &page); err != nil {
			return err
		}
		all = append(all, page.Slots...)
		if len(page.Slots) < 200 || len(all) >= 10_000 {
			break
		}
		since = page.Slots[len(page.Slots)-1].At.Add(time.Millisecond)
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, map[string]any{"slots": append([]flow.Slot{}, all...)})
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SLOT\tOUTCOME\tTOOK\tROWS\tRUN\tREASON\t")
	for _, s := range all {
		took := ""
		if s.StartedAt != nil && s.EndedAt != nil {
			took = seconds(s.EndedAt.Sub(*s.StartedAt))
		}
		outcome := string(s.Outcome)
		if s.Status != "" && s.Status != flow.Completed {
			outcome += ", " + string(s.Status)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t\n", s.At.Format(time.RFC3339), outcome, took, s.Rows, s.RunID, plain(s.Reason))
	}
	return t.Flush()
}

func badTime(name, text string) error {
	return usage("--%s %s: give a time such as 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d", name, text)
}

func backfillCommand() *cli.Command {
	return &cli.Command{
		Name: "backfill", ArgsUsage: "FLOW --from TIME [--to TIME]", Usage: "run the slots of a schedule that are missing, and no others",
		Description: "Missing are those that were missed or that nobody expected. They run one after the other, or together where the flow lets its " +
			"runs overlap, whether or not the schedule is held; at most 500 at once. Look first with --plan.",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "the first slot, at `TIME` or later: 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d; required", Required: true},
			&cli.StringFlag{Name: "to", Usage: "the last slot, at `TIME` or before: as --from; now where absent"},
			&cli.BoolFlag{Name: "paused", Usage: "those of a pause too"},
			&cli.BoolFlag{Name: "skipped", Usage: "those too that were skipped because a run was open"},
			&cli.BoolFlag{Name: "plan", Usage: "say what would be started and start nothing"},
		}),
		Action: backfill,
	}
}

func backfill(ctx context.Context, c *cli.Command) error {
	name := c.Args().First()
	if c.Args().Len() != 1 || name == "" {
		return usage("name one flow: patchbay backfill FLOW --from TIME")
	}
	body := map[string]any{"plan": c.Bool("plan")}
	for _, flag := range []string{"from", "to"} {
		text := c.String(flag)
		if text == "" {
			continue
		}
		at, ok := flow.Moment(text, time.Now())
		if !ok {
			return badTime(flag, text)
		}
		body[flag] = at.UTC().Format(time.RFC3339Nano)
	}
	also := []flow.SlotOutcome{}
	if c.Bool("paused") {
		also = append(also, flow.SlotPaused)
	}
	if c.Bool("skipped") {
		also = append(also, flow.SlotOverlap, flow.SlotStopped)
	}
	body["also"] = also
	r, err := dial(c)
	if err != nil {
		return err
	}
	var got flow.Backfilled
	if err := r.call(ctx, http.MethodPost, "/v1/flows/"+url.PathEscape(name)+"/backfill", nil, body, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	verb := "are started"
	if got.Plan {
		verb = "would be started"
	}
	if len(got.Slots) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "No slot of that time is missing.")
		return nil
	}
	fmt.Fprintf(c.Root().ErrWriter, "%s of %s %s:\n", count(len(got.Slots), "slot"), name, verb)
	for _, at := range got.Slots {
		fmt.Fprintln(c.Root().Writer, at.UTC().Format(time.RFC3339))
	}
	return nil
}

func planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", ArgsUsage: "[DIR]", Usage: "show what an apply would change: flows, schedules and webhooks of synchronizations",
		Flags: append(productionFlags(), &cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.StringFlag{Name: "hooks", Usage: "`URL` at which sources reach the API, as apply is given it"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() > 1 {
				return usage("plan takes one directory, not %d", c.Args().Len())
			}
			dir := cmp.Or(c.Args().First(), ownFlows)
			if !c.Args().Present() && !isDir(dir) {
				return usage("there is no ./%s here; give the directory of the flows: patchbay plan DIR", dir)
			}
			files, err := flowDir(dir)
			if err != nil {
				return err
			}
			s, err := settings(c)
			if err != nil {
				return err
			}
			s.Log = app.Logger(os.Stderr, true, false)
			planned, err := app.PlanChanges(ctx, s, files, dir, c.String("hooks"))
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, planned)
			}
			return printPlanned(c, planned)
		},
	}
}

func printPlanned(c *cli.Command, p app.Planned) error {
	if len(p.Flows)+len(p.Schedules)+len(p.Hooks) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "Nothing would change.")
		return nil
	}
	for _, f := range p.Flows {
		fmt.Fprintf(c.Root().Writer, "%s flow %s\n", f.Kind, f.Flow)
		for _, words := range f.Words {
			fmt.Fprintf(c.Root().Writer, "  %s\n", plain(words))
		}
	}
	for _, h := range p.Hooks {
		fmt.Fprintf(c.Root().Writer, "webhooks of %s: %s tells %s of changes in %s\n", h.Flow, h.Connection, h.URL, strings.Join(h.Tables, ", "))
	}
	for _, s := range p.Schedules {
		fmt.Fprintf(c.Root().Writer, "%s schedule of %s\n", s.Kind, s.Flow)
		for _, words := range s.Words {
			fmt.Fprintf(c.Root().Writer, "  %s\n", plain(words))
		}
	}
	return nil
}
