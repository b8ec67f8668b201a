package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/config"
	"patchbay/internal/sandbox"
)

// SandboxOptions are the choices of `patchbay sandbox`.
type SandboxOptions struct {
	Listen   string // HOST:PORT
	SMTPPort int    // of the same host; 0: any free one
	Database string // URL of a database of its own; not used when lean
	Lean     bool   // same wire, in memory, no limits, no record
	Speed    float64
	// WebhookHosts are hosts that webhooks may go to, besides this machine.
	WebhookHosts []string
	Out          io.Writer
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
	host, _, _ := net.SplitHostPort(ln.Addr().String())
	mail, err := listen(ctx, net.JoinHostPort(host, strconv.Itoa(o.SMTPPort)), "--smtp-port")
	if err != nil {
		_ = ln.Close() // what went wrong is told below
		return err
	}
	server, err := sandbox.New(ctx, sandbox.Options{
		DatabaseURL: database, Lean: o.Lean, Speed: o.Speed, Logger: Logger(o.Out, false, false), WebhookHosts: o.WebhookHosts,
	})
	if err != nil {
		_ = errors.Join(ln.Close(), mail.Close()) // what went wrong is told below
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer server.Close()
	fmt.Fprintf(o.Out, "The sandbox is at http://%s/_sandbox/\n", ln.Addr())
	fmt.Fprintf(o.Out, "It takes mail at smtp://%s\n", mail.Addr())
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(running, ln) })
	group.Go(func() error { return server.Mail(running, mail) })
	return group.Wait()
}
