package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

// The first ask is short, so that a person soon reads that something is still
// open; the later ones let the server wait.
const (
	firstAsk = "wait=1"
	laterAsk = "wait=30"
)

// cancelRun seals a run and prints its certificate. While a write that had begun
// is not settled there is none, and the answer is the run: then it asks again.
func (r *remote) cancelRun(ctx context.Context, c *cli.Command, id string) error {
	note := c.Root().ErrWriter
	for ask, told := firstAsk, false; ; ask = laterAsk {
		status, answer, err := r.exchange(ctx, http.MethodPost, "/v1/runs/"+url.PathEscape(id)+"/cancel", http.Header{"Prefer": {ask}}, nil)
		switch {
		case errors.Is(err, context.Canceled):
			return failure{status: exitFailed, text: "not settled yet; ask again, or look at " + r.base + "/runs/" + id}
		case err != nil:
			return err
		case status == http.StatusOK:
			var certificate flow.Certificate
			if err := r.decode(answer, &certificate); err != nil {
				return err
			}
			return printCertificate(c, certificate)
		}
		var run flow.Run
		if err := r.decode(answer, &run); err != nil {
			return err
		}
		if !told {
			fmt.Fprintf(note, "cancelling… %s\n", firstOf(run.Waiting, "a write that had begun is not settled yet"))
			told = true
		}
		select { // a server that ends answers without waiting
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// printCertificate fails when the run had ended before it could be cancelled.
func printCertificate(c *cli.Command, certificate flow.Certificate) error {
	out := c.Root().Writer
	if c.Bool("json") {
		if err := printJSON(out, certificate); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s: %d done, %d undone, %d in doubt\n", certificate.Status, len(certificate.Done), len(certificate.Undone), len(certificate.InDoubt))
		for _, part := range []struct {
			name    string
			effects []flow.Effect
		}{{"done", certificate.Done}, {"undone", certificate.Undone}, {"in doubt", certificate.InDoubt}} {
			for _, e := range part.effects {
				line := fmt.Sprintf("  %-8s  %s  %s", part.name, e.Step, e.Target)
				if e.Reason != "" {
					line += ": " + e.Reason
				}
				fmt.Fprintln(out, plain(line))
			}
		}
	}
	if certificate.Status != flow.Cancelled {
		return failure{status: exitFailed, text: fmt.Sprintf("the cancel came too late: the run had %s", certificate.Status)}
	}
	return nil
}
