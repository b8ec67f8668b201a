package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/config"
	"patchbay/internal/devenv"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/web"
)

// The references by which the example connections name what is a region's own: the
// secret of its system, and the URL at which the others fetch what it exports.
const (
	secretVar = "PATCHBAY_SANDBOX_SECRET"
	egressVar = "PATCHBAY_EGRESS_"
)

// regionWithin bounds the wait for the processes of regions to be ready for work.
const regionWithin = 60 * time.Second

// devRegion is one region of a development environment, as the process that starts it
// knows it.
type devRegion struct {
	name      string
	owner     string            // URL of its database for the owner of the server
	own       string            // and for the role of its process
	passwords map[string]string // of the roles by which the other regions read its border, by region
}

// startRegions makes the database, the roles and the border of each region, and runs its
// process. Passwords are new with each start and stand in no file: each process is told
// its own, and those by which it reads what the others export.
func (d *dev) startRegions(ctx context.Context) error {
	// Of no region: what systems are called elsewhere is nothing to a border.
	compiled, report, err := compileAll(d.Flows, d.FlowsName, d.Speed, "")
	if err != nil {
		return err
	}
	all := make([]*devRegion, len(d.Regions))
	making, making1 := errgroup.WithContext(ctx)
	for i, name := range d.Regions {
		all[i] = &devRegion{name: name, passwords: map[string]string{}}
		making.Go(func() error { return d.makeRegion(making1, all[i], compiled) })
	}
	if err := making.Wait(); err != nil {
		return err
	}
	running, running1 := errgroup.WithContext(ctx)
	for _, r := range all {
		f := applying{region: r.name, shared: true}.choose(compiled, report)
		running.Go(func() error { return d.runRegion(running1, r, all, f.connections) })
	}
	return running.Wait()
}

// makeRegion brings the database of a region up to date, as its owner.
func (d *dev) makeRegion(ctx context.Context, r *devRegion, compiled []*flow.Plan) (err error) {
	if r.owner, err = d.env.RegionDatabase(ctx, r.name); err != nil {
		return err
	}
	role := store.MigrateOptions{Role: store.RoleOf(d.env.Dir(), r.owner), Password: rand.Text()}
	if r.own, err = store.Migrate(ctx, r.owner, role); err != nil {
		return fmt.Errorf("region %s: %w", r.name, err)
	}
	if r.own == r.owner {
		return fault.Invalidf("regions.roles", "regions need roles of their own, and the user of --database may create none; give one that may, or leave --database out")
	}
	for _, p := range compiled {
		if p.Sync == nil {
			continue
		}
		if p.Sync.Region(r.name) == nil {
			if err := egress.Retire(ctx, r.owner, p.Flow); err != nil {
				return fmt.Errorf("removing the border of %s in %s: %w", p.Flow, r.name, err)
			}
			continue
		}
		if err := egress.Prepare(ctx, r.owner, r.name, p, d.peersOf(r, p)); err != nil {
			return fmt.Errorf("preparing the border of %s for %s: %w", r.name, p.Flow, err)
		}
	}
	return nil
}

// peersOf are the roles by which the other regions of a flow read the border of one. A
// region that does not run has one too: what waits for it stays.
func (d *dev) peersOf(r *devRegion, p *flow.Plan) []egress.PeerRole {
	var peers []egress.PeerRole
	for _, other := range p.Sync.Regions {
		if other.Name == r.name {
			continue
		}
		if r.passwords[other.Name] == "" {
			r.passwords[other.Name] = rand.Text()
		}
		peers = append(peers, egress.PeerRole{Region: other.Name, Role: egress.RoleOf(d.env.Dir(), r.owner, other.Name), Password: r.passwords[other.Name]})
	}
	return peers
}

// runRegion runs the process of a region with the variables that its own connections
// refer to, and no other's.
func (d *dev) runRegion(ctx context.Context, r *devRegion, all []*devRegion, connections []flow.Connection) error {
	info := d.env.Info()
	told := map[string]string{
		"PATCHBAY_DATABASE": r.own, "PATCHBAY_REGION": r.name,
		"PATCHBAY_SANDBOX": info.Sandbox, "PATCHBAY_SANDBOX_SMTP": info.SMTP, regionVar(secretVar+"_", r.name): sandboxSecret + "-" + r.name,
	}
	for _, other := range all {
		if password := other.passwords[r.name]; password != "" {
			address, err := withRole(other.owner, egress.RoleOf(d.env.Dir(), other.owner, r.name), password)
			if err != nil {
				return err
			}
			told[regionVar(egressVar, other.name)] = address
		}
	}
	for _, c := range connections {
		if c.Region != "" && c.Region != r.name {
			continue
		}
		for _, text := range references(c) {
			for _, name := range config.Variables(text) {
				if value, set := os.LookupEnv(name); set && told[name] == "" && name != secretVar {
					told[name] = value // of a connection that people pointed at a system of theirs
				}
			}
		}
	}
	env := make([]string, 0, len(told))
	for _, name := range slices.Sorted(maps.Keys(told)) {
		env = append(env, name+"="+told[name])
	}
	at := info.Regions[r.name]
	return d.env.RunRegion(ctx, devenv.RegionProcess{Name: r.name, Env: env, Args: func(http string) []string {
		args := []string{"region", "--http", http, "--temporal", at.Temporal, "--ui", at.UI, "--data", d.env.Dir(), "--speed", strconv.FormatFloat(d.Speed, 'g', -1, 64)}
		if d.FlowsDir != "" {
			args = append(args, "--flows", d.FlowsDir)
		}
		if d.Verbose {
			args = append(args, "--verbose")
		}
		return args
	}})
}

// regionVar is the variable of a region: PATCHBAY_EGRESS_DE of de.
func regionVar(front, region string) string {
	return front + strings.ReplaceAll(strings.ToUpper(region), "-", "_")
}

// withRole gives a database URL for another role.
func withRole(address, role, password string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fault.New(fault.Invalid, "devenv.database", "the database's address is no URL", err)
	}
	u.User = url.UserPassword(role, password)
	return u.String(), nil
}

// awaitRegions waits until every region is ready for work.
func (d *dev) awaitRegions(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, regionWithin)
	defer cancel()
	waiting, limited := errgroup.WithContext(limited)
	for _, name := range d.Regions {
		waiting.Go(func() error { return d.env.AwaitRegion(limited, name) })
	}
	return waiting.Wait()
}

// consoles are the addresses of the regions' consoles.
func consoles(at map[string]devenv.Region) []web.Region {
	var list []web.Region
	for _, name := range slices.Sorted(maps.Keys(at)) {
		list = append(list, web.Region{Name: name, Address: at[name].HTTP})
	}
	return list
}

// sayRegions says where the regions are, or how they are had.
func (d *dev) sayRegions(at map[string]devenv.Region) {
	for _, name := range slices.Sorted(maps.Keys(at)) {
		fmt.Fprintf(d.Out, "  %-16s %s, Temporal %s, its Web UI %s\n", "Region "+name, at[name].HTTP, at[name].Temporal, at[name].UI)
	}
	if len(at) > 0 {
		return
	}
	if names, err := Regions(d.Flows); err == nil && len(names) > 0 {
		fmt.Fprintf(d.Out, "  %-16s none runs; patchbay dev --regions %s runs what shares records between them\n", "Regions", strings.Join(names, ","))
	}
}
