package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
)

// The exit statuses of doctor; a mistake in the arguments is 2 as well.
const (
	exitWarnings = 1
	exitFailures = 2
)

// doctorWithin bounds the whole examination.
const doctorWithin = 30 * time.Second

// finding is one line of the doctor.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warn, fail
	Detail string `json:"detail"`
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look at everything that a running Patchbay stands on; exit 0 all is well, 1 warnings, 2 failures",
		Description: "Asks the server at --server, which looks at its build and workers, PostgreSQL and its schema, Temporal and its search attributes, " +
			"the canary, the relay, the clocks, the disk of the data directory (patchbay dev), and signs in at every connection. Without a server " +
			"there is one check, and it fails. Exit status: 0 all checks are ok, 1 some warn, 2 some fail.",
		Flags: serverFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			r, err := dial(c)
			if err != nil {
				return err
			}
			return report(c, r.examine(ctx))
		},
	}
}

// examine gives the server's own checks behind one of the server itself.
func (r *remote) examine(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	var found struct {
		Version string    `json:"version"`
		Checks  []finding `json:"checks"`
	}
	err := r.call(ctx, http.MethodGet, "/v1/doctor", nil, nil, &found)
	var problem *apiError
	switch {
	case err == nil:
		return append([]finding{{"server", "ok", found.Version + " at " + r.base}}, found.Checks...)
	case errors.As(err, &problem):
		return []finding{{"server", "fail", plain(r.base + " does not say how it is: " + problem.Error())}}
	case errors.Is(err, context.DeadlineExceeded):
		return []finding{{"server", "fail", fmt.Sprintf("%s did not answer within %s", r.base, doctorWithin)}}
	}
	return []finding{{"server", "fail", err.Error() + "; the other checks are a running server's"}}
}

// report prints the checks and gives the status that they ask for.
func report(c *cli.Command, checks []finding) error {
	count := map[string]int{}
	for _, k := range checks {
		count[k.Status]++
	}
	if c.Bool("json") {
		if err := printJSON(c.Root().Writer, struct {
			Checks []finding `json:"checks"`
		}{checks}); err != nil {
			return err
		}
	} else {
		t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
		for _, k := range checks {
			fmt.Fprintf(t, "%s\t%s\t%s\n", k.Status, k.Name, plain(k.Detail))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(c.Root().ErrWriter, "%d ok, %d to be looked at, %d failed\n", count["ok"], count["warn"], count["fail"])
	}
	switch {
	case count["fail"] > 0:
		return failure{status: exitFailures}
	case count["warn"] > 0:
		return failure{status: exitWarnings}
	}
	return nil
}
