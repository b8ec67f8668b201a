package devenv

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
)

// RegionProcess is the Patchbay of one region.
type RegionProcess struct {
	Name string
	Args func(http string) []string // of this program; http is the HOST:PORT to listen on
	// Env is all that the process knows of secrets: those of its region, in the form
	// NAME=VALUE. What another region is told does not stand in it.
	Env []string
}

// of is the name of a region's child.
func of(kind, name string) string { return kind + "-" + name }

func (e *Env) startRegionTemporal(ctx context.Context, name string) error {
	s, err := e.runTemporal(ctx, of(temporal, name), "Temporal of "+name, 0, 0)
	if err != nil {
		return err
	}
	return e.region(name, func(r *Region) { r.Temporal, r.Metrics, r.UI = s.addresses() })
}

// region changes what is on record of a region.
func (e *Env) region(name string, change func(*Region)) error {
	return e.update(func(r *record) {
		if r.Regions == nil {
			r.Regions = map[string]Region{}
		}
		one := r.Regions[name]
		change(&one)
		r.Regions[name] = one
	})
}

// RegionDatabase makes the database of a region on the server of the environment and
// gives its URL for the owner of the server. Nobody enters it who was not told so: a
// role of one region cannot connect to what belongs to another.
func (e *Env) RegionDatabase(ctx context.Context, name string) (string, error) {
	own := e.Info().Database
	u, err := url.Parse(own)
	if err != nil {
		return "", fault.New(fault.Invalid, "devenv.database", "the database's address is no URL", err)
	}
	database := strings.Trim(u.Path, "/") + "_" + name
	if err := createDatabases(ctx, own, database); err != nil {
		return "", fault.New(fault.Of(err).Class, "devenv.database", "region "+name+" needs a database "+database+" on the server, and it cannot be created", err)
	}
	if err := seal(ctx, own, database); err != nil {
		return "", fault.New(fault.Of(err).Class, "devenv.database", "the database "+database+" cannot be closed to other regions", err)
	}
	u.Path = "/" + database
	return u.String(), e.region(name, func(r *Region) { r.Database = u.String() })
}

// RunRegion gets the process of a region running and returns when it answers; Run
// watches it like every child.
func (e *Env) RunRegion(ctx context.Context, p RegionProcess) error {
	executable, err := e.executable()
	if err != nil {
		return err
	}
	name := of(region, p.Name)
	var at string
	err = e.ensure(ctx, name, []port{{name: name, what: "region " + p.Name}}, func(n []int) (spec, error) {
		at = address(n[0])
		return spec{
			name: name, title: "region " + p.Name + " on " + at, path: executable, args: p.Args(at), env: p.Env,
			limit: 60 * time.Second,
			// Not whether it works: without its database or its Temporal it would not, and it
			// mends nothing to start it anew.
			ready: func(ctx context.Context) error { return httpReady(ctx, "http://"+at+"/healthz") },
		}, nil
	})
	if err != nil {
		return err
	}
	return e.region(p.Name, func(r *Region) { r.HTTP = "http://" + at })
}

// AwaitRegion waits until the process of a region says that it is ready for work.
func (e *Env) AwaitRegion(ctx context.Context, name string) error {
	at := e.Info().Regions[name].HTTP
	return await(ctx, "region "+name, func() bool { return true }, func(ctx context.Context) error { return httpReady(ctx, at+"/readyz") })
}

// seal keeps everybody out of the databases who was not let in by name: every role of
// a cluster may else connect to all of them.
func seal(ctx context.Context, address string, names ...string) error {
	return withDatabase(ctx, address, func(conn *pgx.Conn) error {
		for _, name := range names {
			if _, err := conn.Exec(ctx, "revoke all on database "+pgx.Identifier{name}.Sanitize()+" from public"); err != nil {
				return err
			}
		}
		return nil
	})
}
