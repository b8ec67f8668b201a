package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

// events lists the events that wait for a person, or decides on those of causes.
func (r *remote) events(ctx context.Context, c *cli.Command, causes []string) error {
	why, dismiss, redrive := strings.TrimSpace(c.String("dismiss")), c.IsSet("dismiss"), c.Bool("redrive")
	switch {
	case dismiss && redrive:
		return usage("--dismiss and --redrive exclude each other")
	case (dismiss || redrive) && len(causes) == 0:
		return usage("name the causes, as patchbay dead --events lists them")
	case dismiss && why == "":
		return usage("--dismiss needs a reason, for example: patchbay dead --events --dismiss 'a table that nobody needs' CAUSE")
	case dismiss:
		return r.dismissEvents(ctx, c, causes, why)
	case redrive:
		return r.redriveEvents(ctx, c, causes)
	}
	return r.listEvents(ctx, c, causes)
}

func (r *remote) listEvents(ctx context.Context, c *cli.Command, causes []string) error {
	var page struct {
		Causes []flow.Trouble `json:"causes"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/dead/events?"+url.Values{"flow": {c.String("flow")}}.Encode(), nil, nil, &page); err != nil {
		return err
	}
	if len(causes) > 0 {
		page.Causes = slices.DeleteFunc(page.Causes, func(t flow.Trouble) bool { return !slices.Contains(causes, t.Cause) })
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, page)
	}
	out := c.Root().ErrWriter
	if len(page.Causes) == 0 {
		fmt.Fprintln(out, "No event waits for a person. One that is rejected, or whose record cannot be read, does.")
		return nil
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CAUSE\tFLOW\tSOURCE\tEVENTS\tLAST\tREASON\tWHY\tSAMPLE")
	for _, e := range page.Causes {
		sample := e.Sample.Record
		if e.Sample.Key != "" {
			sample = e.Sample.Key
		}
		fmt.Fprintln(t, strings.Join([]string{e.Cause, e.Flow, e.Source, fmt.Sprint(e.Count), e.Last.Local().Format(time.DateTime), string(e.Reason),
			cut(plain(e.Detail), 80), cut(plain(sample), 40)}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nWhat you can do:\n  patchbay dead --events --redrive CAUSE…\n      they are judged again, under the plan in force\n"+
		"  patchbay dead --events --dismiss REASON CAUSE…\n      nothing more has to be done\n  patchbay explain KEY\n      what happened to one of them")
	return nil
}

// redriveEvents goes on while events are left: one request takes a thousand.
func (r *remote) redriveEvents(ctx context.Context, c *cli.Command, causes []string) error {
	sum := flow.Rejudged{Outcomes: map[string]int{}}
	for {
		var got flow.Rejudged
		if err := r.call(ctx, http.MethodPost, "/v1/dead/events/redrive", nil, map[string]any{"causes": causes}, &got); err != nil {
			return err
		}
		sum.Events, sum.Left = sum.Events+got.Events, sum.Left+got.Left
		for reason, n := range got.Outcomes {
			sum.Outcomes[reason] += n
		}
		// What is rejected again for the same cause is chosen again: the round is over.
		if got.Events < 1000 || got.Outcomes[string(flow.EventRejected)] > 0 {
			break
		}
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, sum)
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(sum.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%d %s", sum.Outcomes[reason], reason))
	}
	text := count(sum.Events, "event") + " judged again"
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if sum.Left > 0 {
		text += fmt.Sprintf("; %d left, somebody else decided or their flow is gone", sum.Left)
	}
	fmt.Fprintln(c.Root().Writer, text)
	return nil
}

func (r *remote) dismissEvents(ctx context.Context, c *cli.Command, causes []string, why string) error {
	var got struct {
		Dismissed int `json:"dismissed"`
	}
	if err := r.call(ctx, http.MethodPost, "/v1/dead/events/dismiss", nil, map[string]any{"causes": causes, "reason": why}, &got); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	fmt.Fprintln(c.Root().Writer, count(got.Dismissed, "event")+" dismissed")
	return nil
}
