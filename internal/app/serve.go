package app

import (
	"context"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/durable"
	"patchbay/internal/store"
	"patchbay/internal/telemetry"
	"patchbay/workers"
)

// ApplicationRole is the database role of serve and worker unless another is named.
const ApplicationRole = store.DefaultRole

// Serve runs the API, the console and the relay until ctx ends.
func Serve(ctx context.Context, s Settings, f Face, address string) error {
	ln, err := listen(ctx, address, "--http")
	if err != nil {
		return err
	}
	defer func() { _ = ln.Close() }()
	c, err := withMetrics(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	return newAPI(c, f).run(ctx, ln)
}

// Work runs a worker of the main queue until ctx ends. Apply makes its build
// current.
func Work(ctx context.Context, s Settings) error {
	c, err := withMetrics(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return c.book.Run(ctx) })
	parts.Go(func() error { return workers.New(c.temporal, c.set(), c.Log).Run(ctx) })
	return parts.Wait()
}

// Apply brings the schema up to date as the owner of the database, puts the
// flows in force, and makes this build current once a worker of it polls.
//
// s.Database is the owner's; the application role, which serve and worker use, is
// made or updated when a password is given for it.
func Apply(ctx context.Context, s Settings, role, password string, flows fs.FS, by string) error {
	if _, err := store.Migrate(ctx, s.Database, store.MigrateOptions{Role: role, Password: password}); err != nil {
		return err
	}
	c, err := withMetrics(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	if err := durable.RegisterSearchAttributes(ctx, c.temporal, c.Namespace); err != nil {
		return err
	}
	if err := apply(ctx, c.plans, flows, s.Speed, by); err != nil {
		return err
	}
	return workers.Promote(ctx, c.temporal)
}

func withMetrics(ctx context.Context, s Settings) (*core, error) {
	var err error
	if s.Metrics, err = telemetry.New(); err != nil {
		return nil, fmt.Errorf("building the metrics: %w", err)
	}
	return open(ctx, s)
}
