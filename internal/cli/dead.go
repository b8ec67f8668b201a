package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

var letterStates = []string{string(flow.LetterDead), string(flow.LetterRedriven), string(flow.LetterDismissed)}

// choosing are the flags that choose dead letters.
func choosing() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "flow", Usage: "only letters of `FLOW`"},
		&cli.StringFlag{Name: "reason", Usage: "only letters with this final `REASON`, such as rejected or deadline, or this code, such as write.refused"},
		&cli.StringFlag{Name: "since", Usage: "died at `TIME` or later: 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d"},
		&cli.StringFlag{Name: "until", Usage: "died before `TIME`: as --since"},
	}
}

// chosen are the same flags as a query.
func chosen(c *cli.Command) (url.Values, error) {
	q := url.Values{}
	for _, name := range []string{"flow", "reason", "since", "until"} {
		v := c.String(name)
		if v == "" {
			continue
		}
		if name == "since" || name == "until" {
			at, ok := flow.Moment(v, time.Now())
			if !ok {
				return nil, usage("--%s %s: give a time such as 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d", name, v)
			}
			v = at.UTC().Format(time.RFC3339Nano)
		}
		q.Set(name, v)
	}
	return q, nil
}

func deadCommand() *cli.Command {
	return &cli.Command{
		Name:      "dead",
		Usage:     "list dead letters, look at one, or put some aside",
		ArgsUsage: "[RUN]",
		Description: "A run that failed for good is a dead letter until it is redriven (patchbay redrive) or dismissed. " +
			"One that asked for what does not exist is none. Business events that expired, or that a flow could not be started by, are listed below. " +
			"Events of systems that could not become runs are listed by cause with --events.",
		Flags: slices.Concat(serverFlags(), choosing(), []cli.Flag{
			&cli.StringFlag{Name: "state", Value: string(flow.LetterDead), Usage: "letters in this `STATE`: " + strings.Join(letterStates, ", ")},
			&cli.BoolFlag{Name: "oldest", Usage: "the oldest first"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most `N` letters, 1 to 200"},
			&cli.StringFlag{Name: "before", Usage: "the page after the one that ended with this `CURSOR`"},
			&cli.StringFlag{Name: "dismiss", Usage: "put RUN… aside, because of `REASON`"},
			&cli.BoolFlag{Name: "events", Usage: "events that were rejected or are dead, by cause; with --dismiss and --redrive, CAUSE…"},
			&cli.StringFlag{Name: "event", Usage: "with --dismiss: of the business events `TOPIC`, those with the IDs that are named, of --about, or since --since"},
			keyOf(),
			&cli.BoolFlag{Name: "redrive", Usage: "with --events: have the events of CAUSE… judged again, under the plan in force"},
		}),
		Action: dead,
	}
}

func dead(ctx context.Context, c *cli.Command) error {
	r, err := dial(c)
	if err != nil {
		return err
	}
	ids := c.Args().Slice()
	switch {
	case c.Bool("events"):
		return r.events(ctx, c, ids)
	case c.IsSet("event"):
		if strings.TrimSpace(c.String("dismiss")) == "" {
			return usage("--event goes with --dismiss REASON; patchbay redrive --event TOPIC offers events again")
		}
		return r.putAside(ctx, c, ids)
	case c.Bool("redrive"):
		return usage("--redrive is of events: patchbay dead --events --redrive CAUSE…; runs are redriven by patchbay redrive RUN…")
	case c.IsSet("dismiss") && len(ids) == 0:
		return usage("name the letters to put aside: patchbay dead --dismiss REASON RUN…")
	case c.IsSet("dismiss") && strings.TrimSpace(c.String("dismiss")) == "":
		return usage("--dismiss needs a reason, for example: patchbay dead --dismiss 'it was entered by hand' RUN")
	case c.IsSet("dismiss"):
		return r.dismiss(ctx, c, ids)
	case len(ids) > 1:
		return usage("name one letter to look at, not %d", len(ids))
	case len(ids) == 1:
		return r.lookAt(ctx, c, ids[0])
	}
	return r.listDead(ctx, c)
}

type letterPage struct {
	Letters []flow.Letter `json:"letters"`
	Next    string        `json:"next"`
	// Events are business events that wait for a person; of the whole list alone.
	Events []flow.TopicEvent `json:"business_events,omitempty"`
}

// keyOf chooses business events.
func keyOf() cli.Flag {
	return &cli.StringFlag{Name: "about", Usage: "with --event: of the business key `KEY`"}
}

func (r *remote) listDead(ctx context.Context, c *cli.Command) error {
	if n := c.Int("limit"); n < 1 || n > 200 {
		return usage("--limit %d: give a whole number from 1 to 200", n)
	}
	if s := c.String("state"); !slices.Contains(letterStates, s) {
		return usage("--state %s: give one of %s", s, strings.Join(letterStates, ", "))
	}
	q, err := chosen(c)
	if err != nil {
		return err
	}
	q.Set("limit", fmt.Sprint(c.Int("limit")))
	q.Set("state", c.String("state"))
	if c.Bool("oldest") {
		q.Set("order", "oldest")
	}
	if c.String("before") != "" {
		q.Set("before", c.String("before"))
	}
	var page letterPage
	if err := r.call(ctx, http.MethodGet, "/v1/dead?"+q.Encode(), nil, nil, &page); err != nil {
		return err
	}
	if q.Get("flow") == "" && q.Get("reason") == "" && q.Get("before") == "" && q.Get("state") == string(flow.LetterDead) {
		of := url.Values{}
		for _, name := range []string{"since", "until"} {
			if q.Has(name) {
				of.Set(name, q.Get(name))
			}
		}
		if page.Events, err = r.undecided(ctx, of); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, page)
	}
	if len(page.Events) > 0 {
		defer func() {
			fmt.Fprintln(c.Root().Writer)
			_ = printUndecided(c, page.Events) // as the list before
			fmt.Fprintln(c.Root().ErrWriter, "\nWhat you can do with business events:\n  patchbay redrive --event TOPIC ID…\n      they are kept once more, wake who awaits them and start the flows that they have not started\n"+
				"  patchbay dead --event TOPIC --dismiss REASON ID…\n      nothing more has to be done")
		}()
	}
	if len(page.Letters) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "No dead letter matches. A run that fails for good is one.")
		return nil
	}
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tFLOW\tDIED\tREASON\tPROBLEM\tWRITES")
	for _, l := range page.Letters {
		fmt.Fprintln(t, strings.Join([]string{l.RunID, l.Flow, l.DiedAt.Local().Format(time.DateTime), l.Reason,
			l.Problem.Code + ": " + cut(plain(l.Problem.Detail), 80), written(l.Effects)}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintln(c.Root().ErrWriter, "There are more: --before "+page.Next)
	}
	return nil
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// written says what a letter has written: "3 done, 1 in doubt".
func written(t flow.Tally) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{t.Done, "done"}, {t.InDoubt, "in doubt"}, {t.Refused, "refused"}, {t.Undone, "never sent"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (r *remote) lookAt(ctx context.Context, c *cli.Command, id string) error {
	var l struct {
		flow.Letter
		Account flow.Account `json:"account"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/dead/"+url.PathEscape(id), nil, nil, &l); err != nil {
		return err
	}
	out := c.Root().Writer
	if c.Bool("json") {
		return printJSON(out, l)
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, text string) { fmt.Fprintln(t, name+"\t"+plain(text)) }
	line("Run", l.RunID+" of "+l.Flow+", asked for by "+l.Principal)
	line("Died", l.DiedAt.Local().Format(time.DateTime)+", "+l.Reason+times(l.Times))
	line("Problem", l.Problem.Code+": "+l.Problem.Detail)
	switch l.State {
	case flow.LetterRedriven:
		line("Redriven", "by "+l.DecidedBy+", goes on as run "+l.Into)
	case flow.LetterDismissed:
		line("Dismissed", "by "+l.DecidedBy+": "+l.Note)
	case flow.LetterDead:
	}
	plan := l.Digest[:min(len(l.Digest), 12)]
	if l.Changed {
		plan += "; the flow has changed since"
	}
	line("Plan", plan)
	for _, name := range sortedKeys(l.Params) {
		line("Parameter", name+"="+cell(l.Params[name]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	printAccount(out, l.Account, time.Local)
	if l.State != flow.LetterDead {
		return nil
	}
	fmt.Fprintln(c.Root().ErrWriter, "\nWhat you can do:")
	for _, can := range [][2]string{
		{"patchbay redrive " + id, "as it was: " + again(l.Effects, l.AnsweredAt != nil)},
		{"patchbay redrive " + id + " --set name=value", "a new run with other parameters, under the plan in force"},
		{"patchbay redrive " + id + " --current", "a new run with the same parameters, under the plan in force; it reads anew and writes every row"},
		{"patchbay dead --dismiss REASON " + id, "nothing more has to be done"},
	} {
		fmt.Fprintf(c.Root().ErrWriter, "  %s\n      %s\n", can[0], can[1])
	}
	return nil
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", %d times by now", n)
}

// again says what a redrive does with writes there were.
func again(t flow.Tally, answered bool) string {
	var parts []string
	if t.Done > 0 {
		parts = append(parts, count(t.Done, "write")+" already there, not sent again")
	}
	if t.InDoubt > 0 {
		parts = append(parts, fmt.Sprintf("%d in doubt, read back before anything is sent", t.InDoubt))
	}
	if n := t.Refused + t.Undone; n > 0 {
		parts = append(parts, fmt.Sprintf("%d sent again", n))
	}
	switch {
	case len(parts) > 0:
	case answered:
		parts = append(parts, "it writes the answer that it has")
	default:
		parts = append(parts, "nothing was written yet, it begins anew")
	}
	return strings.Join(parts, "; ")
}

func (r *remote) dismiss(ctx context.Context, c *cli.Command, ids []string) error {
	var all []decided
	for part := range slices.Chunk(ids, 100) {
		var got decisions
		if err := r.call(ctx, http.MethodPost, "/v1/dead/dismiss", nil, map[string]any{"runs": part, "reason": c.String("dismiss")}, &got); err != nil {
			return err
		}
		all = append(all, got.Results...)
	}
	return printDecisions(c.Root().Writer, c, all)
}

type (
	decisions struct {
		Results []decided `json:"results"`
	}

	// decided is what became of one letter.
	decided struct {
		RunID    string         `json:"run_id"`
		Outcome  string         `json:"outcome"`
		Redriven *flow.Redriven `json:"redrive,omitempty"`
		Code     string         `json:"code,omitempty"`
		Detail   string         `json:"detail,omitempty"`
		Retry    bool           `json:"retry,omitempty"`
	}
)

// printDecisions fails when one letter was refused.
func printDecisions(out io.Writer, c *cli.Command, all []decided) error {
	refused := 0
	for _, d := range all {
		if d.Outcome == "refused" {
			refused++
		}
		if !c.Bool("json") {
			fmt.Fprintln(out, d.RunID+"  "+plain(d.words()))
		}
	}
	if c.Bool("json") {
		if all == nil {
			all = []decided{}
		}
		if err := printJSON(out, decisions{all}); err != nil {
			return err
		}
	}
	if refused > 0 {
		return failure{status: exitFailed, text: fmt.Sprintf("%d of %s refused", refused, count(len(all), "letter"))}
	}
	return nil
}

func (d decided) words() string {
	if d.Outcome == "refused" {
		return "refused: " + d.Code + ": " + d.Detail
	}
	if d.Redriven == nil {
		return d.Outcome
	}
	r := *d.Redriven
	text := "redriven as it was"
	if d.Outcome == "planned" {
		text = "would be redriven as it was"
	}
	plan := "under the plan it has, " + r.Digest[:min(len(r.Digest), 12)]
	if r.New {
		text = strings.Replace(text, "as it was", "as a new run", 1)
		if r.Into != "" {
			text += " " + r.Into
		}
		plan = "under the plan in force, " + r.Digest[:min(len(r.Digest), 12)]
	} else if r.Changed {
		plan += " (the flow has changed since: --current takes the plan in force)"
	}
	if r.New && r.Effects.Done+r.Effects.InDoubt > 0 {
		return text + ", " + plan + "; it writes by key what was written before, too"
	}
	if r.New {
		return text + ", " + plan
	}
	return text + ", " + plan + "; " + again(r.Effects, false)
}
