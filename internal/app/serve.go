package app

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/fleet"
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
	return c.withBook(ctx, func(ctx context.Context) error { return newAPI(c, f).run(ctx, ln) })
}

// Work runs a worker of the main queue, and of compute queues if there are any, until ctx
// ends, and its probes on address unless that is empty. Apply makes its build current.
func Work(ctx context.Context, s Settings, compute []string, t fleet.Tuning, address string) error {
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
	host, err := c.computing(compute, t)
	if err != nil {
		return err
	}
	w := &work{core: c, worker: workers.New(c.temporal, c.set(), c.Log), host: host}
	return w.run(ctx, ln)
}

// drainWithin is how long a worker of an earlier build that is asked to stop goes
// on for the runs that began with it; the supervisor grants more (30 s in
// docker-compose.yml). What is open then goes on with the current build.
const drainWithin = 20 * time.Second

// work is a process that is a worker and nothing else.
type work struct {
	*core
	worker *workers.Worker
	host   *fleet.Host
	found  atomic.Pointer[workers.Estate] // by the latest look at runs of earlier builds
}

// run works until ctx ends, then drains: the probes outlive the worker that they
// watch, and so does what stands for it in the database.
func (w *work) run(ctx context.Context, ln net.Listener) error {
	return w.withBook(ctx, func(ctx context.Context) error {
		base, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		parts, base := errgroup.WithContext(base)
		polling, stop := context.WithCancel(base)
		defer stop()
		if ln != nil {
			parts.Go(func() error { return serveProbes(base, ln, httpapi.Probes(w, w.Metrics.Handler())) })
		}
		parts.Go(func() error { w.present(base); return nil })
		parts.Go(func() error { return w.inherit(polling, w.tell) })
		parts.Go(func() error { w.sweeper().Run(polling); return nil })
		parts.Go(func() error { w.follower().Run(polling); return nil })
		parts.Go(func() error { w.drifting(polling); return nil })
		parts.Go(func() error { w.subscribed(polling, "", func() {}); return nil })
		parts.Go(func() error { w.listen(polling); return nil })
		parts.Go(func() error { w.retire(polling); return nil })
		parts.Go(func() error {
			defer stop()
			select {
			case <-base.Done(): // the worker has failed
			case <-ctx.Done():
				w.drain(base)
			}
			return nil
		})
		parts.Go(func() error {
			defer end()
			working, polling := errgroup.WithContext(polling)
			working.Go(func() error { return w.worker.Run(polling) })
			working.Go(func() error { return w.host.Run(polling) })
			return working.Wait()
		})
		return parts.Wait()
	})
}

func (w *work) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if open := workers.Drain(ctx, w.temporal); open > 0 {
		w.Log.Warn("runs that began with this build are open still; those that the current build replays go on with it",
			zap.Int64("open", open), zap.String("build", Build()))
	}
}

// tell logs what became of the open runs of earlier builds, each once.
func (w *work) tell(found workers.Estate) {
	w.found.Store(&found)
	if found.Moved > 0 {
		w.Log.Info("open runs of an earlier build go on with this one", zap.Int("moved", found.Moved))
	}
	for _, l := range found.Left {
		if l.New {
			w.Log.Warn("a run waits for a worker of the build it began with: this build would have acted otherwise",
				zap.String("workflow", l.WorkflowID), zap.String("build", l.Build))
		}
	}
}

// ApplyOptions are the choices of `patchbay apply`.
type ApplyOptions struct {
	Role      string            // the application role, which serve and worker use
	Password  string            // for it; the role is made or updated when there is one
	Flows     fs.FS             // flow files and connections.yaml
	FlowsName string            // stands before their names in messages
	By        string            // who applies
	Egress    map[string]string // by other region: the password of the role by which it reads our border
	Hooks     string            // URL at which sources reach the API; empty: as it was
	Wait      time.Duration     // for a worker of this build
	Ramp      *int              // percent of new runs that begin on this build, 0 to 99, while another is current; nil: it becomes current
	Out       io.Writer         // progress
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
	before, err := c.plans.List(ctx)
	if err != nil {
		return err
	}
	f, err := apply(ctx, c.plans, c.board, c.slots, applying{files: o.Flows, name: o.FlowsName, speed: s.Speed, by: o.By, region: s.Region})
	if err != nil {
		return err
	}
	borders, err := Borders(o.Flows, o.FlowsName)
	if err != nil {
		return err
	}
	if s.Region != "" {
		borders = append(borders, edited(before, f.plans)...)
	}
	for _, line := range append(f.elsewhere, borders...) {
		fmt.Fprintln(o.Out, line)
	}
	if err := prepareBorders(ctx, s, o, f); err != nil {
		return err
	}
	if err := c.schedules().Make(ctx); err != nil {
		return c.located(err)
	}
	if o.Hooks != "" {
		if err := c.store.Choose(ctx, hooksSetting, []byte(o.Hooks)); err != nil {
			return err
		}
		for _, err := range c.subscribe(ctx, o.Hooks) { // it may want to ask a process that is not there yet
			fmt.Fprintf(o.Out, "not every source delivers yet, the workers try again: %v\n", err)
		}
	}
	return promote(ctx, c, o)
}

// quietFor is how long a wait may be before a person is told of it.
const quietFor = time.Second

// promote makes this build current within the wait, or has it take the part of new runs that
// its ramp says, and says what it waits for.
func promote(ctx context.Context, c *core, o ApplyOptions) (err error) {
	wait := o.Wait
	waiting := time.AfterFunc(quietFor, func() { fmt.Fprintf(o.Out, "waiting for a worker of build %s …\n", Build()) })
	defer waiting.Stop()
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if o.Ramp != nil {
		err = workers.Ramp(limited, c.temporal, *o.Ramp)
	} else {
		err = workers.Promote(limited, c.temporal)
	}
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
