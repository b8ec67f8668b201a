package app

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"patchbay/internal/telemetry"
)

// RegionOptions are the choices of the process of one region of `patchbay dev`.
type RegionOptions struct {
	Settings
	HTTP      string // HOST:PORT on loopback
	UI        string // of the region's Temporal Web UI
	Sandbox   string // that offers samples
	Data      string // directory of the environment
	Flows     fs.FS  // flow files and connections.yaml
	FlowsName string // stands before their names in messages
	Version   string
	Out       io.Writer
}

// Region runs the Patchbay of one region until ctx ends: API, console, relay and worker
// in this process. Its PostgreSQL, its Temporal and the schema are there; whoever started
// them knows the owner's password, and this process does not.
func Region(ctx context.Context, o RegionOptions) error {
	ln, err := listen(ctx, o.HTTP, "--http")
	if err != nil {
		return err
	}
	defer func() { _ = ln.Close() }() // closed twice where a server had it; the second changes nothing
	if o.Metrics, err = telemetry.New(); err != nil {
		return fmt.Errorf("building the metrics: %w", err)
	}
	c, err := open(ctx, o.Settings)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.prepare(ctx, applying{files: o.Flows, name: o.FlowsName, by: "dev", held: heldInDev, shared: true}, o.Out); err != nil {
		return ended(ctx, c.located(err))
	}
	var working atomic.Bool
	a := newAPI(c, Face{
		Dev: true, UI: o.UI, Address: "http://" + ln.Addr().String(), Sandbox: o.Sandbox, Environment: "dev " + o.Region, Data: o.Data, Version: o.Version,
		Working: working.Load,
	})
	return a.whole(ctx, ln, &working, func(ctx context.Context) error {
		return c.inherit(ctx, (&work{core: c}).tell)
	})
}
