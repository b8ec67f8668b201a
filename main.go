// Command patchbay runs durable integrations between business systems.
package main

import (
	"os"

	"patchbay/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}
