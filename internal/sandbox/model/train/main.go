// Command train makes the data of the sandbox's model and trains the model on it.
//
// It is what `go generate ./internal/sandbox/model/learned` runs: it writes
// customers.csv and weights.json into the directory it is started in. The same
// program gives the same files, which a test of that package checks.
//
// It imports learned and the standard library.
package main

import (
	"fmt"
	"os"

	"patchbay/internal/sandbox/model/learned"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	customers := learned.Generate()
	data, err := learned.Write(customers)
	if err != nil {
		return err
	}
	weights, err := learned.Train(customers)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"customers.csv": data, "weights.json": weights} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
