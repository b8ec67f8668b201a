package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func regionsCommand() *cli.Command {
	return &cli.Command{
		Name: "regions", ArgsUsage: "[FLOW]",
		Usage: "show how synchronizations stand, seen from the region of the server",
		Flags: serverFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			r, err := dial(c)
			if err != nil {
				return err
			}
			var page struct {
				Synchronizations []flow.SyncStanding `json:"synchronizations"`
			}
			switch c.Args().Len() {
			case 0:
				err = r.call(ctx, http.MethodGet, "/v1/regions", nil, nil, &page)
			case 1:
				page.Synchronizations = make([]flow.SyncStanding, 1)
				err = r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(c.Args().First())+"/regions", nil, nil, &page.Synchronizations[0])
			default:
				return usage("regions takes one flow, not %d", c.Args().Len())
			}
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, page)
			}
			if len(page.Synchronizations) == 0 {
				fmt.Fprintln(c.Root().ErrWriter, "No flow shares records between regions.")
			}
			for _, s := range page.Synchronizations {
				printStanding(c, s)
			}
			return nil
		},
	}
}

func printStanding(c *cli.Command, s flow.SyncStanding) {
	w := c.Root().Writer
	if s.Region == "" {
		fmt.Fprintf(w, "%s shares records between %s; this Patchbay belongs to none of them.\nThe regions are Patchbays of their own: patchbay dev --regions %s\n",
			s.Flow, strings.Join(s.Regions, ", "), strings.Join(s.Regions, ","))
		return
	}
	fmt.Fprintf(w, "%s, seen from %s; %d conflicts wait for a person\n", s.Flow, s.Region, s.Held)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FROM\tTO\tTABLE\tUNDER WAY\tBEHIND\tLAST TAKEN\t")
	for _, l := range s.Links {
		note := ""
		switch {
		case l.Paused:
			note = "held"
		case l.Late:
			note = "late: more than " + s.Lag.String() + " are promised"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.From, l.To, l.Table, l.Rows, behind(l.Lag), since(l.Seen), note)
	}
	_ = t.Flush()
	for _, x := range s.Tables {
		if x.Anew != nil {
			fmt.Fprintf(w, "read anew: %s, %s: %s (%s)\n", x.Table, since(x.Anew.At), plain(x.Anew.Text), x.Anew.Code)
		}
	}
	for _, r := range s.Reconciled {
		fmt.Fprintf(w, "compared %s with %s %s: %d records, %d under way, %d held, %d pending; %d changed, %d missing, %d added, %d repaired\n",
			r.Table, cmp.Or(r.Peer, "our system"), since(r.At), r.Records, r.InFlight, r.Held, r.Pending, r.Changed, r.Missing, r.Added, r.Repaired)
	}
	for _, p := range s.Pauses {
		fmt.Fprintf(w, "held: %s, by %s: %s\n", cmp.Or(p.Table, "region "+p.Peer), plain(p.By), plain(p.Why))
	}
	for _, a := range s.Alerts {
		fmt.Fprintf(w, "alert since %s: %s\n", since(a.First), plain(a.Text))
	}
	for _, x := range s.Trouble {
		fmt.Fprintf(w, "trouble: %s %s: %s (%s)\n", strings.TrimSpace(x.Part+" "+x.Peer), x.Table, plain(x.Text), x.Code)
	}
}

// behind is how far the other side is: a moment is nothing.
func behind(lag time.Duration) string {
	if lag < time.Second {
		return "-"
	}
	return lag.Round(time.Second).String()
}

func since(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return time.Since(at).Round(time.Second).String() + " ago"
}

func conflictsCommand() *cli.Command {
	return &cli.Command{
		Name: "conflicts", ArgsUsage: "FLOW", Usage: "show values that two regions wrote without knowing of each other",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "those that are decided, too"},
			&cli.StringFlag{Name: "table", Usage: "only those of `TABLE`"},
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usage("name one flow: patchbay conflicts FLOW")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			query := url.Values{"table": {c.String("table")}, "all": {strconv.FormatBool(c.Bool("all"))}}
			var page struct {
				Conflicts []flow.SyncConflict `json:"conflicts"`
				Next      int64               `json:"next"`
			}
			if err := r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(c.Args().First())+"/conflicts?"+query.Encode(), nil, nil, &page); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, page)
			}
			if len(page.Conflicts) == 0 {
				fmt.Fprintln(c.Root().ErrWriter, "No conflict waits.")
				return nil
			}
			for _, x := range page.Conflicts {
				fmt.Fprintf(c.Root().Writer, "%d  %s %s, %s: %s\n", x.ID, x.Table, plain(x.Key), cmp.Or(x.Column, "whether it exists"), x.Rule)
				for i, v := range x.Values {
					value, err := json.Marshal(v.Value)
					if err != nil {
						return err
					}
					note := ""
					if v.Here {
						note = "  (held here)"
					}
					if v.Won {
						note += "  (won)"
					}
					fmt.Fprintf(c.Root().Writer, "    %d: %s of %s, %s%s\n", i, plain(string(value)), v.Region, v.At.Format(time.RFC3339), note)
				}
			}
			return nil
		},
	}
}

func decideCommand() *cli.Command {
	return &cli.Command{
		Name: "decide", ArgsUsage: "FLOW CONFLICT", Usage: "decide which value of a conflict counts, in all regions",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.IntFlag{Name: "pick", Value: -1, Usage: "the value at this `PLACE`, as patchbay conflicts shows them"},
			&cli.StringFlag{Name: "value", Usage: "another value, as `JSON`"},
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 2 {
				return usage("name the flow and the conflict: patchbay decide FLOW CONFLICT --pick 0")
			}
			id, err := strconv.ParseInt(c.Args().Get(1), 10, 64)
			if err != nil || id < 1 {
				return usage("%q is no number of a conflict; patchbay conflicts %s shows them", c.Args().Get(1), c.Args().First())
			}
			body := map[string]any{}
			switch {
			case c.IsSet("pick") == c.IsSet("value"):
				return usage("give --pick PLACE or --value JSON, one of them")
			case c.IsSet("pick"):
				body["pick"] = c.Int("pick")
			case !json.Valid([]byte(c.String("value"))):
				return usage("--value %s is no JSON; a text stands in quotes: '\"+49 1\"'", c.String("value"))
			default:
				body["value"] = json.RawMessage(c.String("value"))
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			return r.call(ctx, http.MethodPost, "/v1/flows/"+url.PathEscape(c.Args().First())+"/conflicts/"+c.Args().Get(1)+"/decide", nil, body, nil)
		},
	}
}

// leaving are the flags by which hold and resume mean a table, or a region, of a
// synchronization.
func leaving() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "table", Usage: "of a synchronization: this `TABLE` alone, out and in"},
		&cli.StringFlag{Name: "region", Aliases: []string{"from"}, Usage: "of a synchronization: what comes from this `REGION` and goes to it"},
	}
}

// leave holds or resumes part of a synchronization.
func leave(ctx context.Context, c *cli.Command, what string) error {
	if c.Args().Len() != 1 {
		return usage("name one flow: patchbay %s FLOW", what)
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	body := map[string]any{"table": c.String("table"), "region": c.String("region")}
	if what == "hold" {
		body["reason"] = c.String("reason")
	}
	var got flow.SyncStanding
	if err := r.call(ctx, http.MethodPost, "/v1/flows/"+url.PathEscape(c.Args().First())+"/regions/"+what, nil, body, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	printStanding(c, got)
	return nil
}
