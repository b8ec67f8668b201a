package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func paidCommand() *cli.Command {
	return &cli.Command{
		Name: "paid", Usage: "what was paid to providers on a day, for which run, and what is left of the budget",
		Description: "An answer that is in doubt counts as paid until it is asked for again, which costs nothing.",
		Flags:       slices.Concat(serverFlags(), []cli.Flag{&cli.StringFlag{Name: "day", Usage: "`DATE` such as 2026-12-01; without it today, in UTC"}}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("patchbay paid takes no arguments; --day names another day")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			query := url.Values{}
			if day := c.String("day"); day != "" {
				query.Set("day", day)
			}
			var got flow.PaidDay
			if err := r.call(ctx, http.MethodGet, "/v1/paid?"+query.Encode(), nil, nil, &got); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, got)
			}
			return printPaid(c, got)
		},
	}
}

func printPaid(c *cli.Command, d flow.PaidDay) error {
	out := c.Root().Writer
	if len(d.Totals) == 0 {
		fmt.Fprintf(out, "Nothing was paid on %s, and no flow in use has a budget.\n", d.Day)
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONNECTION\tPAID\tIN DOUBT\tINQUIRIES\tREUSED\tLEFT\tOF")
	for _, t := range d.Totals {
		left, of := "", ""
		if t.Budget != nil {
			of = t.Budget.String()
		}
		if t.Left != nil {
			left = t.Left.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", plain(t.Connection), t.Paid, t.InDoubt, t.Inquiries, t.Reused, left, of)
	}
	if len(d.Inquiries) > 0 {
		fmt.Fprintln(w, "\nAT\tCONNECTION\tPRICE\tSTATE\tRUN\tREUSED")
	}
	for _, i := range d.Inquiries {
		state := string(i.State)
		if i.Reason != "" {
			state += " (" + plain(i.Reason) + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", i.At.Format(time.RFC3339), plain(i.Connection), i.Price, state, plain(i.Run), strconv.Itoa(i.Reused))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if d.More {
		fmt.Fprintln(out, "There are more inquiries; --json has no more either: these are the newest.")
	}
	return nil
}
