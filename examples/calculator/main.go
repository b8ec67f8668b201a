// Command calculator hosts calculators of one's own. `go run ./examples/calculator --queues acme` is a worker that takes
// computations from queue acme; without arguments, as in `echo '{"income": 3000, "rent": 950}' | go run ./examples/calculator`, it
// prints what version 1 says, and what version 2 in its shadow would say otherwise.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"patchbay/calculator"
	"patchbay/examples/calculator/rent"
	"patchbay/fleet"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(fleet.Main(os.Args, os.Stdout, os.Stderr, rent.V1(), rent.V2()))
	}
	if err := answer(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(ctx context.Context, in io.Reader, out io.Writer) error {
	calculators, err := calculator.Register(rent.V1(), rent.V2())
	if err != nil {
		return err
	}
	live, err := calculators.Find("acme.rent", "v1")
	if err != nil {
		return err
	}
	shadow, err := calculators.Find("acme.rent", "v2")
	if err != nil {
		return err
	}
	input, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	output, comparison, err := calculator.Shadow(ctx, live, shadow, input, calculator.Run{Seed: 1})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", output)
	return json.NewEncoder(out).Encode(comparison)
}
