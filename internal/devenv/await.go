package devenv

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"patchbay/internal/fault"
)

// between is the pause between two looks at a child that is not ready yet.
const between = 25 * time.Millisecond

// await calls ready until it succeeds, ctx ends, or the process is not alive.
func await(ctx context.Context, what string, alive func() bool, ready func(context.Context) error) error {
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if !alive() { // whoever answered, it was another
			return fault.New(fault.Unavailable, "devenv.ended", what+" ended while it was starting", err)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "devenv.not_ready", what+" did not get ready in time", fmt.Errorf("%w; last: %w", ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

// AwaitTemporal waits until the server at address serves the namespace.
func AwaitTemporal(ctx context.Context, address, namespace string) error {
	return await(ctx, "Temporal", func() bool { return true }, func(ctx context.Context) error { return temporalReady(ctx, address, namespace) })
}

func temporalReady(ctx context.Context, address, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: address, Namespace: namespace,
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	return err
}
