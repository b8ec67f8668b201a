package app

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/httpapi"
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

// Work runs a worker of the main queue until ctx ends, and its probes on address
// unless that is empty. Apply makes its build current.
func Work(ctx context.Context, s Settings, address string) error {
	var ln net.Listener
	if address != "" {
		var err error
		if ln, err = listen(ctx, address, "--http"); err != nil {
			return err
		}
		defer func() { _ = ln.Close() }()
	}
	c, err := withMetrics(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return c.book.Run(ctx) })
	parts.Go(func() error { return workers.New(c.temporal, c.set(), c.Log).Run(ctx) })
	if ln != nil {
		parts.Go(func() error { return serveProbes(ctx, ln, httpapi.Probes(working{c}, c.Metrics.Handler())) })
	}
	return parts.Wait()
}

// ApplyOptions are the choices of `patchbay apply`.
type ApplyOptions struct {
	Role     string        // the application role, which serve and worker use
	Password string        // for it; the role is made or updated when there is one
	Flows    fs.FS         // flow files and connections.yaml
	By       string        // who applies
	Wait     time.Duration // for a worker of this build
	Out      io.Writer     // progress
}

// Apply brings the schema up to date as the owner of the database, whom
// s.Database names, puts the flows in force, and makes this build current once a
// worker of it polls.
func Apply(ctx context.Context, s Settings, o ApplyOptions) error {
	if _, err := store.Migrate(ctx, s.Database, store.MigrateOptions{Role: o.Role, Password: o.Password}); err != nil {
		return s.located(err)
	}
	c, err := withMetrics(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	if err := durable.RegisterSearchAttributes(ctx, c.temporal, c.Namespace); err != nil {
		return c.located(err)
	}
	if _, err := apply(ctx, c.plans, o.Flows, s.Speed, o.By); err != nil {
		return err
	}
	return promote(ctx, c, o.Wait, o.Out)
}

// quietFor is how long a wait may be before a person is told of it.
const quietFor = time.Second

// promote makes this build current within wait, and says what it waits for.
func promote(ctx context.Context, c *core, wait time.Duration, out io.Writer) error {
	waiting := time.AfterFunc(quietFor, func() { fmt.Fprintf(out, "waiting for a worker of build %s …\n", Build()) })
	defer waiting.Stop()
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := workers.Promote(limited, c.temporal)
	if err != nil && ctx.Err() == nil && fault.Of(err).Code == durable.NoVersion {
		return fault.New(fault.Unavailable, durable.NoVersion, fmt.Sprintf(
			"schema and flows are in force, but no worker of build %s has polled Temporal within %s; start `patchbay worker` of this build and apply again", Build(), wait), err)
	}
	return err
}

func withMetrics(ctx context.Context, s Settings) (*core, error) {
	var err error
	if s.Metrics, err = telemetry.New(); err != nil {
		return nil, fmt.Errorf("building the metrics: %w", err)
	}
	return open(ctx, s)
}
