package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "tell everything that happened to a business key or a run, and what can be done",
		ArgsUsage: "KEY",
		Flags:     serverFlags(),
		Action:    explain,
	}
}

func explain(ctx context.Context, c *cli.Command) error {
	key := strings.TrimSpace(c.Args().First())
	if c.Args().Len() != 1 || key == "" {
		return usage("name one key, for example: patchbay explain AS54888")
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	var story struct {
		Key     string         `json:"key"`
		Entries []flow.Entry   `json:"entries"`
		Runs    []flow.Account `json:"runs"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/explain/"+url.PathEscape(key), nil, nil, &story); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, story)
	}
	if len(story.Entries) == 0 {
		fmt.Fprintf(c.Root().ErrWriter, "Nothing is known of %q; keys are case-sensitive.\n", key)
		return nil
	}
	if err := printStory(c.Root().Writer, story.Entries, time.Local); err != nil {
		return err
	}
	if paths := flow.PathsOf(story.Entries); len(paths) > 0 {
		fmt.Fprintln(c.Root().Writer)
		for _, p := range paths {
			fmt.Fprintln(c.Root().Writer, plain(p.String()))
		}
	}
	for _, a := range story.Runs {
		fmt.Fprintln(c.Root().Writer)
		printAccount(c.Root().Writer, a, time.Local)
	}
	return nil
}

// printStory prints a line for each entry, and one for equal entries of a run
// that follow each other.
func printStory(out io.Writer, entries []flow.Entry, zone *time.Location) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "AT\tFLOW\tRUN\tWHAT\tREASON\tDETAIL")
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && alike(entries[0], entries[n]) {
			n++
		}
		e, what := entries[0], entries[0].What
		if all := told(entries[:n]); all > 1 {
			what = count(all, what)
		}
		reason := e.Reason
		if reason == e.What {
			reason = ""
		}
		at := e.At.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
		fmt.Fprintln(t, strings.Join([]string{at, e.Flow, e.Run, what, reason, detail(entries[:n])}, "\t"))
		entries = entries[n:]
	}
	return t.Flush()
}

// told is how many effects entries tell of: those that share their fate have one.
func told(entries []flow.Entry) int {
	all := 0
	for _, e := range entries {
		n, err := strconv.Atoi(said(e, "count"))
		if err != nil {
			n = 1
		}
		all += n
	}
	return all
}

func alike(a, b flow.Entry) bool {
	return a.Run == b.Run && a.What == b.What && a.Reason == b.Reason && said(a, "why") == said(b, "why") && said(a, "target") != ""
}

// detail says in words what entries that are alike tell besides their reason.
func detail(entries []flow.Entry) string {
	e := entries[0]
	var parts []string
	for _, name := range []string{"change", "window"} {
		if text := said(e, name); text != "" && (e.What == "event" || e.What == "window") {
			parts = append(parts, text)
		}
	}
	if n := said(e, "events"); n != "" && e.What == "window" {
		parts = append(parts, n+" of its events")
	}
	if said(e, "target") != "" {
		var targets []string
		for _, e := range entries {
			labels, several := e.Detail["labels"].([]any)
			for _, label := range labels {
				targets = append(targets, said(e, "target")+" "+cell(label))
			}
			if !several {
				targets = append(targets, said(e, "target"))
			}
		}
		parts = append(parts, common(targets))
	}
	if rows := said(e, "rows"); rows == "1" {
		parts = append(parts, "1 row")
	} else if rows != "" {
		parts = append(parts, rows+" rows")
	}
	if by := said(e, "by"); by != "" {
		if into := said(e, "into"); into != "" && into != e.Run {
			by += " as run " + into
		}
		parts = append(parts, "by "+by)
	}
	if e.What == "record" || e.What == "table" {
		for _, name := range []string{"table", "story"} {
			if text := said(e, name); text != "" {
				parts = append(parts, text)
			}
		}
	}
	for _, name := range []string{"code", "problem", "why", "note", "do"} {
		if text := said(e, name); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ": ")
}

// said is one detail of an entry as text; empty where there is none.
func said(e flow.Entry, name string) string {
	if v, ok := e.Detail[name]; ok {
		return cell(v)
	}
	return ""
}
