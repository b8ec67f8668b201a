package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/fleet"
	"patchbay/internal/config"
	"patchbay/internal/devenv"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/httpapi"
	"patchbay/internal/store"
	"patchbay/internal/telemetry"
	"patchbay/starters"
	"patchbay/workers"
)

// stopWithin bounds the orderly end of a whole environment.
const stopWithin = 20 * time.Second

// DevOptions are the choices of `patchbay dev`.
type DevOptions struct {
	Dir          string // data, record and logs
	Fresh        bool
	HTTP         string // HOST:PORT on loopback
	TemporalPort int
	UIPort       int
	SandboxPort  int
	SMTPPort     int          // of the sandbox's mail server; 0: any free one
	Database     string       // URL of a PostgreSQL that is there; empty: a private cluster
	Temporal     string       // HOST:PORT of a Temporal that is there; empty: a development server
	Keys         httpapi.Keys // of people besides the principal dev; nil: none
	Regions      []string     // each with a database, a Temporal and a process of its own, beside what has none
	Speed        float64
	Queues       []string // task queues it works for; none: all
	Lean         bool     // the sandbox keeps nothing and limits nothing
	Flows        fs.FS    // flow files and connections.yaml
	FlowsName    string   // stands before their names in messages
	Version      string
	FlowsDir     string    // where the processes of regions read the flows; empty: the examples
	Verbose      bool      // log more than warnings
	Out          io.Writer // progress, banner and log
}

// Dev runs everything on this machine until ctx ends: PostgreSQL, Temporal and
// the sandbox as children, worker, relay, API and console in this process.
func Dev(ctx context.Context, o DevOptions) (err error) {
	began := time.Now()
	ctx, out, restore := attend(ctx, o.Out)
	defer restore()
	o.Out = out
	env, err := devenv.Start(ctx, devenv.Options{
		Dir: o.Dir, HTTP: o.HTTP, Fresh: o.Fresh, Speed: o.Speed, Lean: o.Lean, Database: o.Database, Temporal: o.Temporal,
		Regions: o.Regions, TemporalPort: o.TemporalPort, UIPort: o.UIPort, SandboxPort: o.SandboxPort, SMTPPort: o.SMTPPort,
		Progress: func(line string) { fmt.Fprintln(o.Out, line) },
	})
	if err != nil {
		return errors.Join(ctx.Err(), err) // an interrupt fails whatever is being started
	}
	stopping := context.AfterFunc(ctx, func() { fmt.Fprintln(o.Out, "stopping …") })
	defer func() {
		stopping()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		closed := env.Close(stop)
		if closed == nil && ctx.Err() != nil {
			fmt.Fprintln(o.Out, "stopped; the data stays in "+env.Dir())
		}
		err = errors.Join(err, closed)
	}()
	file, err := env.OpenLog()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // what is logged is written at once
	d := &dev{DevOptions: o, env: env, began: began, log: devLogger(o.Out, file, o.Verbose)}
	if err := d.prepare(ctx); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer d.core.close()
	return d.run(ctx, env.Listener())
}

// dev is a running environment.
type dev struct {
	DevOptions
	env     *devenv.Env
	core    *core
	log     *zap.Logger
	began   time.Time
	working atomic.Bool
}

// prepare brings schema, flows and search attributes up to date.
func (d *dev) prepare(ctx context.Context) error {
	if err := lendBank(ctx, d.env); err != nil {
		return err
	}
	info := d.env.Info()
	// The example connections name the sandbox by reference, as they would name a
	// real system (promise 9); this process is who resolves it.
	for name, value := range sandboxed(info) {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	role := store.MigrateOptions{Password: rand.Text()}
	if d.Database != "" { // somebody else's cluster, where others may run a Patchbay too
		role.Role = store.RoleOf(d.env.Dir(), info.Database)
	}
	url, err := store.Migrate(ctx, info.Database, role)
	if err != nil {
		return err
	}
	metrics, err := telemetry.New()
	if err != nil {
		return err
	}
	key, err := devCapsuleKey(filepath.Join(d.env.Dir(), "capsule.pem"))
	if err != nil {
		return err
	}
	d.core, err = open(ctx, Settings{
		CapsuleKey: key, Queues: d.Queues,
		Database: url, Temporal: info.Temporal, Speed: d.Speed, Solo: true,
		Resolve: config.Resolve, Log: d.log, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	parts, preparing := errgroup.WithContext(ctx)
	if len(d.Regions) > 0 {
		parts.Go(func() error { return d.startRegions(preparing) })
	}
	parts.Go(func() error {
		return d.core.prepare(preparing, applying{files: d.Flows, name: d.FlowsName, by: "dev", held: heldInDev}, d.Out)
	})
	if err := parts.Wait(); err != nil {
		d.core.close()
		return d.core.located(err)
	}
	return nil
}

// prepare makes Temporal and the database ready for the flows, and says on out what is
// missing for them.
func (c *core) prepare(ctx context.Context, a applying, out io.Writer) error {
	a.speed, a.region = c.Speed, c.Region
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return durable.RegisterSearchAttributes(ctx, c.temporal, c.Namespace) })
	var f inForce
	parts.Go(func() (err error) {
		f, err = apply(ctx, c.plans, c.board, c.slots, a)
		return err
	})
	if err := parts.Wait(); err != nil {
		return err
	}
	for _, line := range unresolved(f.connections, c.Region, c.Resolve) {
		fmt.Fprintln(out, "warning: "+line)
	}
	return nil
}

func (d *dev) run(ctx context.Context, ln net.Listener) error {
	info := d.env.Info()
	a := newAPI(d.core, Face{
		Dev: true, UI: info.UI, Address: "http://" + ln.Addr().String(), Sandbox: info.Sandbox, Environment: "dev", Data: d.env.Dir(), Version: d.Version,
		Working: d.working.Load, Regions: consoles(info.Regions), Keys: d.Keys,
	})
	a.canary.Changed = func(song starters.Song) { d.heard(ctx, song) }
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return d.env.Run(ctx) })
	parts.Go(func() error {
		return a.whole(ctx, ln, &d.working, func(ctx context.Context) error {
			if err := d.awaitRegions(ctx); err != nil {
				return ended(ctx, err)
			}
			http := "http://" + ln.Addr().String()
			if err := d.env.Announce(http); err != nil {
				return err
			}
			d.banner(http)
			if d.Temporal != "" { // it may be shared: with workers whose database is another
				return nil
			}
			return d.core.inherit(ctx, d.tell)
		})
	})
	return parts.Wait()
}

// whole runs a Patchbay that is one process until ctx ends: API, console, relay and a
// worker. Working tells whether the worker's build is current; ready is called when it
// is, and may go on until ctx ends. It owns ln.
func (a *api) whole(ctx context.Context, ln net.Listener, working *atomic.Bool, ready func(context.Context) error) error {
	worker := workers.New(a.temporal, a.set(), a.Log)
	host, err := a.computing(Computes(a.Queues), fleet.Tuning{Runaways: -1})
	if err != nil {
		return err
	}
	return a.withBook(ctx, func(ctx context.Context) error {
		parts, ctx := errgroup.WithContext(ctx)
		parts.Go(func() error {
			defer working.Store(false)
			return worker.Run(ctx)
		})
		parts.Go(func() error { return host.Run(ctx) })
		parts.Go(func() error { a.present(ctx); return nil })
		parts.Go(func() error { return a.run(ctx, ln) })
		parts.Go(func() error { a.core.sweeper().Run(ctx); return nil })
		parts.Go(func() error { a.core.follower().Run(ctx); return nil })
		parts.Go(func() error { a.core.drifting(ctx); return nil })
		parts.Go(func() error { a.core.listen(ctx); return nil })
		parts.Go(func() error { a.core.retire(ctx); return nil })
		parts.Go(func() error {
			if err := workers.Promote(ctx, a.temporal); err != nil {
				return ended(ctx, err)
			}
			working.Store(true)
			subscribed := make(chan struct{})
			parts.Go(func() error { a.core.subscribed(ctx, a.face.Address, func() { close(subscribed) }); return nil })
			<-subscribed
			return ready(ctx)
		})
		return parts.Wait()
	})
}

// reinstated bounds the try to make Temporal know what it has to.
const reinstated = 5 * time.Second

// heard sees to what the canaries tell. The worker is this process: what it is not
// given, Temporal keeps. That may be a Temporal that lost its data with all that was
// registered there; else a child that answers and does not work is started anew.
func (d *dev) heard(ctx context.Context, song starters.Song) {
	if song.Untaken && d.working.Load() {
		ctx, cancel := context.WithTimeout(ctx, reinstated)
		defer cancel()
		err := durable.RegisterSearchAttributes(ctx, d.core.temporal, d.core.Namespace)
		if err == nil {
			err = workers.Promote(ctx, d.core.temporal)
		}
		if err != nil {
			d.log.Warn("Temporal does not know what was registered", zap.Error(err))
		}
	}
	switch {
	case song.Well() || song.Passed.IsZero():
	case song.Leg == starters.StoreLeg:
		d.env.Doubt(devenv.Postgres)
	case song.Leg == starters.TemporalLeg, song.Untaken && d.working.Load():
		d.env.Doubt(devenv.Temporal)
	}
}

// tell says what became of the runs that an earlier build of this program left open.
func (d *dev) tell(found workers.Estate) {
	if found.Moved > 0 {
		fmt.Fprintf(d.Out, "%d open runs of an earlier build go on with this one.\n", found.Moved)
	}
	for _, l := range found.Left {
		if l.New {
			fmt.Fprintf(d.Out, "%s waits for the build it began with: this one would have acted otherwise.\n", l.WorkflowID)
		}
	}
}

// ended is nil when err is only that ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// listen takes the port before anything is started; option is what changes it.
func listen(ctx context.Context, address, option string) (net.Listener, error) {
	var c net.ListenConfig
	ln, err := c.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Conflict, "http.port_taken", "the port of "+address+" is taken; choose another with "+option+" 127.0.0.1:PORT (0 picks a free one)", err)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "http.listen", "cannot listen on "+address+"; give "+option+" HOST:PORT", err)
	}
	return ln, nil
}

// banner says where everything is and what to try first.
func (d *dev) banner(http string) {
	info := d.env.Info()
	data := d.env.Dir()
	if info.Cluster != "" && d.Database == "" && !strings.HasPrefix(info.Cluster, data+string(filepath.Separator)) {
		data += " and " + info.Cluster // PostgreSQL's user cannot get to the directory
	}
	fmt.Fprintf(d.Out, "\nPatchbay is ready after %.1f s.\n\n", time.Since(d.began).Seconds())
	for _, line := range [][2]string{
		{"Console", http},
		{"API", http + "/docs"},
		{"Temporal Web UI", info.UI},
		{"Temporal", info.Temporal},
		{"Sandbox", info.Sandbox + "/_sandbox/"},
		{"Mail", "smtp://" + info.SMTP + ", shown at " + info.Sandbox + "/_sandbox/mail"},
		{"Data", data},
	} {
		if line[1] != "" {
			fmt.Fprintf(d.Out, "  %-16s %s\n", line[0], line[1])
		}
	}
	d.sayRegions(info.Regions)
	fmt.Fprintf(d.Out, "\nPress the first button:\n\n  curl -s %s/v1/flows/product-specs/runs -H 'Content-Type: application/json' -d '{\"product_id\": \"AS54888\"}'\n\nCtrl-C stops everything.\n", http)
}
