package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:        "run",
		Usage:       "start a run of a flow and show its progress",
		ArgsUsage:   "FLOW [name=value …]",
		Description: "For example: patchbay run product-specs product_id=AS54888. The rows go to standard output, progress to standard error.",
		Flags: append(serverFlags(),
			&cli.BoolFlag{Name: "no-wait", Usage: "return once the press is accepted"},
			&cli.StringFlag{Name: "idempotency-key", Usage: "press once: the same `KEY` again gives the same run"},
		),
		Action: pressFlow,
	}
}

func pressFlow(ctx context.Context, c *cli.Command) error {
	name := c.Args().First()
	if name == "" {
		return usage("name the flow: patchbay run FLOW name=value …")
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	params, err := r.params(ctx, name, c.Args().Tail())
	if err != nil {
		return err
	}
	header := http.Header{"Prefer": {"wait=0"}}
	if key := c.String("idempotency-key"); key != "" {
		header.Set("Idempotency-Key", key)
	}
	var state flow.Run
	if err := r.call(ctx, http.MethodPost, "/v1/flows/"+url.PathEscape(name)+"/runs", header, params, &state); err != nil {
		return err
	}
	if !c.Bool("no-wait") && !state.Status.Final() {
		bar := newBar(c.Root().ErrWriter)
		id := state.RunID
		err := r.follow(ctx, id, func(s flow.Run) bool { state = s; bar.show(s); return true })
		bar.end()
		if errors.Is(err, context.Canceled) {
			fmt.Fprintf(c.Root().ErrWriter, "The run goes on: %s/runs/%s\n", r.base, id)
		}
		if err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, state)
	}
	return printRun(c.Root().Writer, c.Root().ErrWriter, r.base, state)
}

// params reads name=value arguments. Types come from the flow itself, so that
// 12 is a number where the flow wants one and a text where it does not.
func (r *remote) params(ctx context.Context, name string, args []string) (map[string]any, error) {
	params := map[string]any{}
	if len(args) == 0 {
		return params, nil
	}
	var declared struct {
		Params []flow.Param `json:"params"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(name), nil, nil, &declared); err != nil {
		return nil, err
	}
	types := map[string]flow.Type{}
	for _, p := range declared.Params {
		types[p.Name] = p.Type
	}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usage("%q is not name=value", arg)
		}
		if _, twice := params[k]; twice {
			return nil, usage("%s is given twice", k)
		}
		params[k] = v
		switch types[k] {
		case flow.Int, flow.Decimal:
			if json.Valid([]byte(v)) {
				params[k] = json.Number(v)
			}
		case flow.Bool:
			if v == "true" || v == "false" {
				params[k] = v == "true"
			}
		}
	}
	return params, nil
}

// printRun prints the rows to out, and what else a person wants to know to note.
func printRun(out, note io.Writer, base string, r flow.Run) error {
	if r.Result != nil {
		printRows(out, r.Result.Rows)
	}
	counts := map[flow.EffectState]int{}
	for _, e := range r.Effects {
		counts[e.State]++
	}
	var effects []string
	for _, state := range []flow.EffectState{flow.Confirmed, flow.Settled, flow.Attempt, flow.Doubtful, flow.Refused} {
		if n := counts[state]; n > 0 {
			effects = append(effects, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(state), "_", " ")))
		}
	}
	line := string(r.Status)
	if len(effects) > 0 {
		line += "; effects: " + strings.Join(effects, ", ")
	}
	fmt.Fprintf(note, "%s  %s/runs/%s\n", line, base, r.RunID)
	if r.Status == flow.Failed || r.Status == flow.Cancelled {
		text := ""
		if r.Problem != nil {
			text = r.Problem.Detail + " (" + r.Problem.Code + ")"
			if r.Problem.Retry {
				text += "; trying again may help"
			}
		}
		return failure{status: exitFailed, text: text}
	}
	return nil
}

// printRows prints rows as a table whose columns are in alphabetical order.
func printRows(out io.Writer, rows []flow.Row) {
	if len(rows) == 0 {
		return
	}
	columns := make([]string, 0, len(rows[0]))
	for column := range rows[0] {
		columns = append(columns, column)
	}
	sort.Strings(columns)
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, column := range columns {
			if v := row[column]; v != nil {
				cells[i] = strings.Map(printable, fmt.Sprint(v))
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // a broken pipe shows at the next command
}

// printable keeps what a terminal shows as text and drops what it obeys.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
		return ' '
	}
	return r
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
