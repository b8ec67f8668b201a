package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func holdCommand() *cli.Command {
	return &cli.Command{
		Name: "hold", ArgsUsage: "FLOW", Usage: "start no run of a flow, or of all that need a connection; or leave a table or region alone",
		Description: "Presses and events are accepted and wait, and what is being carried out goes on. Of a schedule no slot starts; " +
			"the slots of the pause are kept with its reason.",
		Flags: slices.Concat(serverFlags(), []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`WHY` it is held, in a sentence; required", Required: true},
			connectionFlag(),
		}, leaving()),
		Action: func(ctx context.Context, c *cli.Command) error { return change(ctx, c, "hold") },
	}
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", ArgsUsage: "FLOW", Usage: "let go of what was held",
		Description: "What waited is started in its order. The slots of a schedule's pause stay paused; patchbay backfill FLOW --paused runs them.",
		Flags:       slices.Concat(serverFlags(), []cli.Flag{connectionFlag()}, leaving()),
		Action:      func(ctx context.Context, c *cli.Command) error { return change(ctx, c, "resume") },
	}
}

func connectionFlag() cli.Flag {
	return &cli.StringFlag{Name: "connection", Usage: "all flows that need this `CONNECTION`; nothing is sent to its system"}
}

// change holds or resumes: a connection, a part of a synchronization, a schedule or a
// flow.
func change(ctx context.Context, c *cli.Command, what string) error {
	connection, part := c.String("connection"), c.IsSet("table") || c.IsSet("region")
	switch {
	case c.IsSet("connection") && (connection == "" || part || c.Args().Present()):
		return usage("--connection names one connection and goes without a flow, --table and --region")
	case connection == "" && (c.Args().Len() != 1 || c.Args().First() == ""):
		return usage("name one flow, or a connection: patchbay %s FLOW, patchbay %s --connection NAME", what, what)
	case part:
		return leave(ctx, c, what)
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	if connection != "" {
		return r.stop(ctx, c, what, flow.StopConnection, connection)
	}
	name := c.Args().First()
	var problem *apiError
	if err = r.pause(ctx, c, what, name); errors.As(err, &problem) && problem.Code == "schedule.not_found" {
		return r.stop(ctx, c, what, flow.StopFlow, name)
	}
	return err
}

// pause holds or resumes a schedule.
func (r *remote) pause(ctx context.Context, c *cli.Command, what, name string) error {
	var body any
	if what == "hold" {
		body = map[string]any{"reason": c.String("reason")}
	}
	var got flow.Rhythm
	if err := r.call(ctx, http.MethodPost, "/v1/flows/"+url.PathEscape(name)+"/"+what, nil, body, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	switch {
	case got.Paused != nil:
		fmt.Fprintf(c.Root().Writer, "%s starts nothing: %s\n", name, plain(got.Paused.Reason))
	case len(got.Next) > 0:
		fmt.Fprintf(c.Root().Writer, "%s starts next at %s\n", name, got.Next[0].Format(time.RFC3339))
	}
	return nil
}

// stopList is what is stopped.
type stopList struct {
	Stops []flow.Stopped `json:"stops"`
}

// stop holds or resumes a flow without a schedule, or a connection.
func (r *remote) stop(ctx context.Context, c *cli.Command, what string, kind flow.StopKind, name string) error {
	body := map[string]any{"kind": kind, "name": name}
	if what == "hold" {
		body["reason"] = c.String("reason")
	}
	var got stopList
	if err := r.call(ctx, http.MethodPost, "/v1/stops/"+what, nil, body, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	i := slices.IndexFunc(got.Stops, func(s flow.Stopped) bool { return s.Kind == kind && s.Name == name })
	if i < 0 {
		fmt.Fprintf(c.Root().Writer, "the %s %s is in use again\n", kind, name)
		return nil
	}
	fmt.Fprintf(c.Root().Writer, "the %s %s is stopped: %s\n", kind, name, stopWords(got.Stops[i]))
	return nil
}

func stopsCommand() *cli.Command {
	return &cli.Command{
		Name: "stops", Usage: "show what is held, or rests because its system does not answer, and what waits for it",
		Flags: serverFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("stops takes no arguments")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			var got stopList
			if err := r.call(ctx, http.MethodGet, "/v1/stops", nil, nil, &got); err != nil {
				return err
			}
			out := c.Root().Writer
			if c.Bool("json") {
				return printJSON(out, got)
			}
			if len(got.Stops) == 0 {
				fmt.Fprintln(c.Root().ErrWriter, "Nothing is stopped.")
				return nil
			}
			t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "STOPPED\tSINCE\tRUNS\tTAKE\tWHY\t")
			for _, s := range got.Stops {
				take := ""
				if s.Drains != nil {
					take = seconds(time.Duration(*s.Drains * float64(time.Second)))
				}
				fmt.Fprintf(t, "%s %s\t%s\t%d\t%s\t%s\t\n", s.Kind, s.Name, s.Since.UTC().Format(time.RFC3339), s.Runs, take, stopWords(s))
			}
			return t.Flush()
		},
	}
}

// stopWords say why something is stopped.
func stopWords(s flow.Stopped) string {
	if s.Cause == flow.StopHeld {
		return "held by " + plain(s.By) + ": " + plain(s.Reason)
	}
	return "it answers nobody: " + plain(s.Reason)
}
