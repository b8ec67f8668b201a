package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"patchbay/internal/flow"
)

// mostEffects bounds the effects that went as they should, on a terminal.
const mostEffects = 20

// printAccount tells a run step by step, with its effects and what a person can do
// about each.
func printAccount(out io.Writer, a flow.Account, zone *time.Location) {
	line := fmt.Sprintf("run %s  %s  %s", a.RunID, a.Flow, a.Status)
	switch {
	case a.Dead:
		line += ", a dead letter"
	case a.Waiting != "":
		line += ", " + a.Waiting
	}
	if a.Redriven > 0 {
		line += fmt.Sprintf(", redriven %s", times0(a.Redriven))
	}
	if a.RedriveOf != "" {
		line += ", made of the dead letter " + a.RedriveOf
	}
	if a.Shared != "" {
		line += ", shares the work of run " + a.Shared
	}
	fmt.Fprintln(out, plain(line))
	for _, s := range a.Steps {
		at, took := "            ", "        "
		if s.At != nil {
			at = s.At.In(zone).Format("15:04:05.000")
		}
		if s.TookMS > 0 {
			took = fmt.Sprintf("%8s", seconds(time.Duration(s.TookMS*float64(time.Millisecond))))
		}
		fmt.Fprintf(out, "  %-9s %s %s  %s\n", s.Name, at, took, plain(s.Note))
		printEffects(out, s.Effects)
	}
	if a.Problem != nil {
		fmt.Fprintln(out, "  "+plain(a.Problem.Code+": "+a.Problem.Detail))
	}
}

func times0(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func printEffects(out io.Writer, effects []flow.AccountEffect) {
	fine := 0
	for i, e := range effects {
		if e.State == flow.Confirmed || e.State == flow.Settled {
			if fine++; fine > mostEffects {
				continue
			}
		}
		line := fmt.Sprintf("    %-9s %s", words(e.State), e.Target)
		if e.Reason != "" {
			line += ": " + e.Reason
		}
		fmt.Fprintln(out, plain(line))
		// One word of advice for effects in a row that have the same.
		if e.Todo != "" && (i+1 == len(effects) || effects[i+1].Todo != e.Todo) {
			fmt.Fprintln(out, "              → "+plain(e.Todo))
		}
	}
	if fine > mostEffects {
		fmt.Fprintf(out, "    and %d more that are there; --json has all\n", fine-mostEffects)
	}
}

func sortedKeys(row flow.Row) []string { return slices.Sorted(maps.Keys(row)) }
