package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

func shadowsCommand() *cli.Command {
	return &cli.Command{
		Name: "shadows", Usage: "how far calculators agree with those in their shadow, which see the same figures and have no effect",
		ArgsUsage: "[FLOW]",
		Flags:     serverFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() > 1 {
				return usage("name one flow, or none for all: patchbay shadows loan-qualification")
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			var got flow.ShadowList
			if err := r.call(ctx, http.MethodGet, "/v1/shadows?"+url.Values{"flow": {c.Args().First()}}.Encode(), nil, nil, &got); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, got)
			}
			return printShadows(c, got)
		},
	}
}

func printShadows(c *cli.Command, list flow.ShadowList) error {
	out := c.Root().Writer
	if len(list.Shadows) == 0 {
		fmt.Fprintln(out, "Nothing was computed in a shadow.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FLOW\tSTEP\tDECIDES\tIN THE SHADOW\tCOMPARED\tEQUAL\tFAILED")
	for _, t := range list.Shadows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", plain(t.Flow), plain(t.Step), plain(t.Live), plain(t.Beside), t.Compared, t.Equal, t.Failed)
	}
	if len(list.Differing) > 0 {
		fmt.Fprintln(w, "\nAT\tRUN\tSTEP\tWHAT DIFFERS")
	}
	for _, one := range list.Differing {
		what := strings.Join(one.Differ, ", ")
		if one.Fault != "" {
			what = "it gave nothing: " + one.Fault
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", one.At.Format(time.RFC3339), plain(one.Run), plain(one.Step), plain(what))
	}
	return w.Flush()
}
