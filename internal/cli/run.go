package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

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
			&cli.BoolFlag{Name: "background", Usage: "nobody waits for this run: presses of people go first"},
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
	if c.Bool("background") {
		header.Set("Priority", "u=5") // RFC 9218
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
	if err := r.printRun(ctx, c, state); err != nil || !state.Status.Final() {
		return err
	}
	if text := unsuccessful(state); text != "" {
		return failure{status: exitFailed, text: text}
	}
	return nil
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
			return nil, usage("%q is not name=value, such as product_id=AS54888", arg)
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
