package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
)

func drillCommand() *cli.Command {
	return &cli.Command{
		Name:      "drill",
		Usage:     "replay a day of an event flow on a patchbay dev, so many times as much and as fast",
		ArgsUsage: "FLOW",
		Description: "The events that the flow kept in the last 24 hours, or between --from and --to, come again: each --times, with records of their own, " +
			"--speed times as fast. Nobody is told of anything: it runs on a patchbay dev, and only if what the flow writes to is the sandbox. " +
			"Throttles and quotas are not sped up. A flow that reads its records gets the same ones again.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Value: ".patchbay", Usage: "`DIR` of the patchbay dev"},
			&cli.IntFlag{Name: "times", Value: 5, Usage: "`N` times as many events, 1 to 1000"},
			&cli.FloatFlag{Name: "speed", Value: 60, Usage: "`N` times as fast: 60 makes a day 24 minutes"},
			&cli.StringFlag{Name: "from", Usage: "first `TIME`, RFC 3339 (default: 24 hours before --to)"},
			&cli.StringFlag{Name: "to", Usage: "last `TIME`, RFC 3339 (default: now)"},
			&cli.BoolFlag{Name: "generate", Usage: "spread what was recorded over a working day, as many a day as the flow expects"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of what is generated"},
			&cli.DurationFlag{Name: "wait", Value: 10 * time.Minute, Usage: "wait at most so long until nothing waits any more"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: drill,
	}
}

func drill(ctx context.Context, c *cli.Command) error {
	name := c.Args().First()
	if c.Args().Len() != 1 || name == "" {
		return usage("name one flow, for example: patchbay drill case-notifications --times 5 --speed 600")
	}
	o := app.DrillOptions{Data: c.String("data"), Flow: name, Times: c.Int("times"), Speed: c.Float("speed"), Generate: c.Bool("generate"),
		Seed: c.Uint64("seed"), Wait: c.Duration("wait"), To: time.Now()}
	if o.Times < 1 || o.Times > 1000 || o.Speed < 1 || o.Speed > 1e6 {
		return usage("--times is from 1 to 1000, --speed from 1 to 1000000")
	}
	var err error
	if text := c.String("to"); text != "" {
		if o.To, err = time.Parse(time.RFC3339, text); err != nil {
			return usage("--to %q is no time such as 2026-01-31T09:00:00Z", text)
		}
	}
	o.From = o.To.Add(-24 * time.Hour)
	if text := c.String("from"); text != "" {
		if o.From, err = time.Parse(time.RFC3339, text); err != nil || !o.From.Before(o.To) {
			return usage("--from %q is no time such as 2026-01-31T09:00:00Z before --to", text)
		}
	}
	o.Sample = func(s app.DrillSample) {
		if int(s.At)%5 == 0 {
			fmt.Fprintf(c.Root().ErrWriter, "%5.0f s  %d sent, %d windows open, %d runs open, %d completed, %d not  %s\n", s.At, s.Sent, s.Windows, s.Runs, s.Completed, s.Failed, s.Mode)
		}
	}
	r, err := app.Drill(ctx, o)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, r)
	} else {
		printDrill(c, r)
	}
	if err == nil && !r.Emptied {
		return failure{status: exitFailed, text: fmt.Sprintf("after %s there is still something that waits", o.Wait)}
	}
	return err
}

func printDrill(c *cli.Command, r app.DrillReport) {
	out := c.Root().Writer
	fmt.Fprintf(out, "%d events in %.0f s; %d waited at most\n", r.Events, r.Took, r.Peak)
	fmt.Fprintf(out, "drained in %.0f s; forecast when the last came: %.0f s\n", r.Drained, r.Forecast)
	fmt.Fprintf(out, "runs ended in the busiest minute: %d\n", r.Busiest)
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(r.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Outcomes[reason], reason))
	}
	if len(parts) > 0 {
		fmt.Fprintln(out, "decided at once: "+strings.Join(parts, ", "))
	}
	for _, q := range r.Quotas {
		fmt.Fprintf(out, "of the quota of %d %s in %s: %d used at most\n", q.Most, q.Kind, time.Duration(q.Per*float64(time.Second)), q.Peak)
	}
	modes := make([]string, len(r.Modes))
	for i, m := range r.Modes {
		modes[i] = string(m)
	}
	if len(modes) == 0 {
		modes = []string{"none"}
	}
	fmt.Fprintln(out, "modes of the spike plan: "+strings.Join(modes, ", "))
}
