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

// await calls ready until it succeeds or ctx ends; gone, when closed, means that
// there is nothing left to wait for.
func await(ctx context.Context, what string, gone <-chan struct{}, ready func(context.Context) error) error {
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return fault.New(fault.Unavailable, "devenv.ended", what+" ended while it was starting", err)
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "devenv.not-ready", what+" did not get ready in time", fmt.Errorf("%w; last: %w", ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

// AwaitTemporal waits until the server at address serves the namespace.
func AwaitTemporal(ctx context.Context, address, namespace string) error {
	return await(ctx, "Temporal", nil, func(ctx context.Context) error { return temporalReady(ctx, address, namespace) })
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
