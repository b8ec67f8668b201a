// Command train makes the scorecard of internal/risk/scorecard from loans.csv, and nothing else: `go run ./internal/risk/train`
// prints the card, byte for byte the one that is committed. `train data` prints loans.csv, which is synthetic, and
// `train report` the tables of docs/risk.md.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	what := "card"
	if len(args) > 0 {
		what = args[0]
	}
	var out []byte
	var err error
	switch what {
	case "card":
		out, err = card(loans)
	case "data":
		out = sample()
	case "report":
		out, err = report(loans)
	default:
		err = fmt.Errorf("there is no %q; there are card, data and report", what)
	}
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
