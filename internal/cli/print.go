package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

// printRun prints the rows of a run, and to standard error what else a person
// wants to know; with --json the whole run.
func (r *remote) printRun(ctx context.Context, c *cli.Command, run flow.Run) error {
	out, note := c.Root().Writer, c.Root().ErrWriter
	if c.Bool("json") {
		return printJSON(out, run)
	}
	if run.Result != nil && len(run.Result.Rows) > 0 {
		printRows(out, run.Result.Rows, r.columns(ctx, run.Flow))
	}
	printFigures(out, run.Completeness)
	fmt.Fprintf(note, "%s  %s/runs/%s\n", strings.Join(append([]string{string(run.Status)}, counted(run.Effects)...), ", "), r.base, run.RunID)
	for _, line := range reasons(run.Effects) {
		fmt.Fprintln(note, "  "+line)
	}
	return nil
}

// unsuccessful says how a run ended that did not do what was asked; empty for
// every other run.
func unsuccessful(r flow.Run) string {
	switch {
	case r.Status == flow.Cancelled:
		return "the run was cancelled"
	case r.Status == flow.Failed && r.Problem != nil:
		text := r.Problem.Code + ": " + plain(r.Problem.Detail)
		if r.Problem.Retry {
			text += "; trying again may help"
		}
		return text
	case r.Status == flow.Failed:
		return "the run failed"
	}
	return ""
}

// counted says how many effects are in which state.
func counted(effects []flow.Effect) []string {
	counts := map[flow.EffectState]int{}
	for _, e := range effects {
		counts[e.State]++
	}
	var out []string
	for _, state := range []flow.EffectState{flow.Confirmed, flow.Settled, flow.Attempt, flow.Doubtful, flow.Refused} {
		if n := counts[state]; n > 0 {
			out = append(out, count(n, "write")+" "+words(state))
		}
	}
	return out
}

// reasons says why effects were refused or are in doubt: one line for each
// reason, in the order of the effects, and no more than a person reads.
func reasons(effects []flow.Effect) []string {
	type why struct {
		state  flow.EffectState
		reason string
	}
	var order []why
	targets := map[why][]string{}
	for _, e := range effects {
		if e.State != flow.Refused && e.State != flow.Doubtful || e.Reason == "" {
			continue
		}
		w := why{e.State, e.Reason}
		if targets[w] == nil {
			order = append(order, w)
		}
		targets[w] = append(targets[w], e.Target)
	}
	const most = 3
	var out []string
	for i, w := range order {
		if i == most {
			return append(out, fmt.Sprintf("and %s more; the run has them all", count(len(order)-most, "reason")))
		}
		out = append(out, fmt.Sprintf("%d %s: %s: %s", len(targets[w]), words(w.state), common(targets[w]), plain(w.reason)))
	}
	return out
}

// common names one target as it is, and several by what their names begin with.
func common(targets []string) string {
	first := targets[0]
	shared := len(first)
	for _, t := range targets[1:] {
		n := 0
		for n < shared && n < len(t) && first[n] == t[n] {
			n++
		}
		shared = n
	}
	if shared == len(first) {
		return plain(first)
	}
	if cut := strings.LastIndexAny(first[:shared], " ,"); cut > 0 {
		return plain(strings.TrimRight(first[:cut], " ,"))
	}
	return plain(first) + ", …"
}

func words(state flow.EffectState) string {
	if state == flow.Attempt {
		return "begun"
	}
	return strings.ReplaceAll(string(state), "_", " ")
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// columns gives the columns of a flow in the order of its file; none where the
// server does not tell, for the order is a courtesy.
func (r *remote) columns(ctx context.Context, name string) []string {
	var declared struct {
		Plan *flow.Plan `json:"plan"`
	}
	if r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(name), nil, nil, &declared) != nil || declared.Plan == nil {
		return nil
	}
	var out []string
	for _, column := range declared.Plan.Map {
		out = append(out, column.Name)
	}
	if read := declared.Plan.Read; len(out) == 0 && read != nil {
		out = append(slices.Clone(read.Select), slices.Sorted(maps.Keys(read.Expand))...)
	}
	return out
}

// printRows prints rows as a table: first the columns that order names, then the
// others by their names.
func printRows(out io.Writer, rows []flow.Row, order []string) {
	given := map[string]bool{}
	for _, row := range rows {
		for column := range row {
			given[column] = true
		}
	}
	var columns []string
	for _, column := range append(slices.Clone(order), slices.Sorted(maps.Keys(given))...) {
		if given[column] {
			columns = append(columns, column)
			delete(given, column)
		}
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, column := range columns {
			cells[i] = cell(row[column])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // a broken pipe shows at the next command
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any, map[string]any:
		b, _ := json.Marshal(v) // it came as JSON
		return plain(string(b))
	}
	return plain(fmt.Sprint(v))
}

// plain keeps what a terminal shows as text and drops what it obeys.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// isTerminal reports whether w is a terminal, so that a bar may redraw its line.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
