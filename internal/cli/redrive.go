package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

// mostRedriven bounds the dead letters that one command redrives.
const mostRedriven = 10_000

func redriveCommand() *cli.Command {
	return &cli.Command{
		Name:                      "redrive",
		DisableSliceFlagSeparator: true, // a value may hold a comma
		Usage:                     "accept dead letters again, one or many",
		ArgsUsage:                 "RUN… | --flow FLOW [--reason R] [--since T]",
		Description: "As it was, a run goes on under the plan it is bound to: what it has written is not written again, what is in doubt is " +
			"read back first, what was refused is sent again. With --set, --unset or --current a new run is made under the plan in force. " +
			"Many go one after the other, behind what people wait for. Look first with --plan.",
		Flags: slices.Concat(serverFlags(), choosing(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every dead letter, where nothing else chooses"},
			&cli.StringSliceFlag{Name: "set", Usage: "`NAME=VALUE` in the place of a parameter; may be given several times"},
			&cli.StringSliceFlag{Name: "unset", Usage: "give up the parameter `NAME`"},
			&cli.BoolFlag{Name: "current", Usage: "a new run under the plan in force"},
			&cli.BoolFlag{Name: "plan", Usage: "say what would be done and do nothing"},
			&cli.StringFlag{Name: "event", Usage: "instead of runs the business events `TOPIC` that expired or are dead: those whose IDs are named, of --about, or since --since"},
			keyOf(),
			&cli.IntFlag{Name: "rate", Value: 20, Usage: "at most `N` letters a second, 1 to 1000"},
		}),
		Action: redrive,
	}
}

func redrive(ctx context.Context, c *cli.Command) error {
	ids := c.Args().Slice()
	filter, err := chosen(c)
	if err != nil {
		return err
	}
	switch {
	case c.Int("rate") < 1 || c.Int("rate") > 1000:
		return usage("--rate %d: give a whole number from 1 to 1000", c.Int("rate"))
	case c.IsSet("event"):
		if c.String("event") == "" || len(ids) == 0 && len(filter) == 0 && c.String("about") == "" {
			return usage("name the events: patchbay redrive --event TOPIC ID…, or --event TOPIC --about KEY, or --event TOPIC --since 2h")
		}
		r, err := dial(c)
		if err != nil {
			return err
		}
		return r.offer(ctx, c, ids)
	case len(ids) > 0 && (len(filter) > 0 || c.Bool("all")):
		return usage("name runs or choose them by --flow, --reason, --since and --until, not both")
	case len(ids) == 0 && len(filter) == 0 && !c.Bool("all"):
		return usage("name the runs, or choose them: patchbay redrive RUN…, or patchbay redrive --flow FLOW --since 24h, or --all")
	case len(ids) == 0 && c.String("flow") == "" && (len(c.StringSlice("set")) > 0 || len(c.StringSlice("unset")) > 0):
		return usage("--set and --unset need runs of one flow: give --flow, or name the runs")
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		if ids, err = r.choose(ctx, filter); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "No dead letter matches.")
		return printDecisions(c.Root().Writer, c, nil)
	}
	set, err := r.edits(ctx, c, ids[0])
	if err != nil {
		return err
	}
	all, err := r.redriveAll(ctx, c, ids, set)
	if err != nil && len(all) == 0 {
		return err
	}
	if printed := printDecisions(c.Root().Writer, c, all); err == nil {
		err = printed
	}
	return err
}

// choose gives the runs of the letters of a filter, the oldest first. They are
// listed before any is redriven: one that dies again meanwhile has had its turn.
func (r *remote) choose(ctx context.Context, filter url.Values) ([]string, error) {
	filter.Set("order", "oldest")
	filter.Set("limit", "200")
	var ids []string
	for {
		var page letterPage
		if err := r.call(ctx, http.MethodGet, "/v1/dead?"+filter.Encode(), nil, nil, &page); err != nil {
			return nil, err
		}
		for _, l := range page.Letters {
			ids = append(ids, l.RunID)
		}
		if page.Next == "" {
			return ids, nil
		}
		if len(ids) >= mostRedriven {
			return nil, usage("there are more than %d such letters; choose fewer by --reason, --since and --until", mostRedriven)
		}
		filter.Set("before", page.Next)
	}
}

// edits are the parameters that are to change, typed as the flow of the letter has
// them.
func (r *remote) edits(ctx context.Context, c *cli.Command, runID string) (map[string]any, error) {
	set, unset := c.StringSlice("set"), c.StringSlice("unset")
	if len(set)+len(unset) == 0 {
		return nil, nil
	}
	name := c.String("flow")
	if name == "" {
		var l flow.Letter
		if err := r.call(ctx, http.MethodGet, "/v1/dead/"+url.PathEscape(runID), nil, nil, &l); err != nil {
			return nil, err
		}
		name = l.Flow
	}
	edits, err := r.params(ctx, name, set)
	if err != nil {
		return nil, err
	}
	for _, name := range unset {
		if _, both := edits[name]; both {
			return nil, usage("%s is both set and unset", name)
		}
		edits[name] = nil
	}
	return edits, nil
}

// redriveAll redrives at the pace that was asked for. What the server takes later is
// sent again.
func (r *remote) redriveAll(ctx context.Context, c *cli.Command, ids []string, set map[string]any) ([]decided, error) {
	rate, planning := c.Int("rate"), c.Bool("plan")
	body := map[string]any{"current": c.Bool("current"), "plan": planning}
	if set != nil {
		body["set"] = set
	}
	all := make(map[string]decided, len(ids))
	given := func() []decided {
		var list []decided
		for _, id := range ids {
			if d, ok := all[id]; ok {
				list = append(list, d)
			}
		}
		return list
	}
	told := false
	for todo := slices.Clone(ids); len(todo) > 0; {
		n := min(len(todo), 100)
		if !planning {
			n = min(n, max(rate, 1))
		}
		body["runs"] = todo[:n]
		began := time.Now()
		var got decisions
		if err := r.call(ctx, http.MethodPost, "/v1/dead/redrive", nil, body, &got); err != nil {
			return given(), err
		}
		todo = todo[n:]
		wait := time.Duration(n) * time.Second / time.Duration(rate)
		for _, d := range got.Results {
			if d.Retry && len(ids) > 1 {
				todo, wait = append(todo, d.RunID), max(wait, 2*time.Second)
				if !told {
					fmt.Fprintln(c.Root().ErrWriter, "waiting: "+plain(d.Detail))
					told = true
				}
				continue
			}
			all[d.RunID] = d
		}
		if planning || len(todo) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return given(), failure{status: exitFailed, text: fmt.Sprintf("interrupted: %d of %s were redriven; ask again for the rest", len(all), count(len(ids), "letter"))}
		case <-time.After(wait - time.Since(began)):
		}
	}
	return given(), nil
}
