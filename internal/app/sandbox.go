package app

import (
	"context"
	"fmt"
	"io"

	"patchbay/internal/config"
	"patchbay/internal/sandbox"
)

// SandboxOptions are the choices of `patchbay sandbox`.
type SandboxOptions struct {
	Listen   string // HOST:PORT
	Database string // URL of a database of its own; not used when lean
	Lean     bool   // same wire, in memory, no limits, no record
	Speed    float64
	Out      io.Writer
}

// Sandbox runs the stand-in systems alone until ctx ends.
func Sandbox(ctx context.Context, o SandboxOptions) error {
	spareCollector()
	database, err := config.Resolve(o.Database)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, o.Listen, "--listen")
	if err != nil {
		return err
	}
	server, err := sandbox.New(ctx, sandbox.Options{
		DatabaseURL: database, Lean: o.Lean, Speed: o.Speed, Logger: Logger(o.Out, false, false),
	})
	if err != nil {
		_ = ln.Close() // what went wrong is told below
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer server.Close()
	fmt.Fprintf(o.Out, "The sandbox is at http://%s/_sandbox/\n", ln.Addr())
	return server.Run(ctx, ln)
}
