package app

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// regions is what synchronizations say of who owns what.
	regions struct {
		names []string          // of all regions, sorted
		of    map[string]string // the region of a connection
	}

	// inForce is what was applied.
	inForce struct {
		plans       []*flow.Plan
		connections []flow.Connection
		without     []*flow.Plan // synchronizations that the region has no part in, or no more
		elsewhere   []string     // flows that another region runs: a line for people each
	}
)

// Regions gives the names of the regions that the flows of a directory share records
// between, sorted.
func Regions(files fs.FS) ([]string, error) {
	r, err := regional(files)
	return r.names, err
}

// regional reads which connection belongs to which region. Nothing is resolved for it,
// and what is wrong with the files is for whoever compiles them in earnest.
func regional(files fs.FS) (regions, error) {
	r := regions{of: map[string]string{}}
	report, err := check.Dir(files, check.Options{Compile: flowfile.Options{Identity: unnamed}})
	if err != nil {
		return r, err
	}
	names, by := map[string]bool{}, map[string]string{}
	for _, f := range report.Flows {
		if f.Plan.Sync == nil {
			continue
		}
		for _, one := range f.Plan.Sync.Regions {
			names[one.Name] = true
			if before, taken := r.of[one.Connection]; taken && before != one.Name {
				return r, fault.Invalidf("flows.region", "connection %s is of region %s in flow %s and of region %s in flow %s; a system is in one region",
					one.Connection, before, by[one.Connection], one.Name, f.Plan.Flow)
			}
			r.of[one.Connection], by[one.Connection] = one.Name, f.Plan.Flow
		}
	}
	r.names = slices.Sorted(maps.Keys(names))
	return r, nil
}

// identity names systems for the plans of a process of one region. Those of others are
// known by the text of their reference: what it stands for is nothing to it.
func (r regions) identity(region string, resolve func(string) (string, error)) func(flow.Connection) (string, error) {
	known := Identity(resolve)
	return func(c flow.Connection) (string, error) {
		if of, is := r.of[c.Name]; is && of != region {
			return unnamed(c)
		}
		return known(c)
	}
}

// label has each connection say whose processes alone dial it: those of the region that a
// synchronization gives it to. Without one, where the file says that the system is counts
// for processes of regions, and for others is a fact for proofs.
func (r regions) label(connections []flow.Connection, region string) {
	for i := range connections {
		c := &connections[i]
		if of, given := r.of[c.Name]; given || region == "" {
			c.Region = of
		}
	}
}

// unnamed names a system by what its connection says, unresolved.
func unnamed(c flow.Connection) (string, error) {
	return c.System + " " + strings.TrimRight(c.URL, "/"), nil
}

// choose leaves out what is not for this region.
func (a applying) choose(compiled []*flow.Plan, report check.Report) inForce {
	of := map[string]string{}
	for _, c := range report.Connections {
		of[c.Name] = c.Region
	}
	var f inForce
	needed := map[string]bool{}
	if m := report.Alerts.Mail; m != nil {
		needed[m.Connection] = true
	}
	for _, p := range compiled {
		switch {
		case p.Sync != nil && a.region != "" && p.Sync.Region(a.region) == nil:
			f.without = append(f.without, p)
			f.elsewhere = append(f.elsewhere, fmt.Sprintf("%s is not in force here: region %s has no part in it", p.Flow, a.region))
			continue
		case p.Sync == nil && a.shared:
			continue
		}
		if name := foreign(p, of, a.region); name != "" {
			f.elsewhere = append(f.elsewhere, fmt.Sprintf("%s is not in force here: connection %s belongs to region %s", p.Flow, name, of[name]))
			continue
		}
		f.plans = append(f.plans, p)
		for name := range p.Bindings {
			needed[name] = true
		}
	}
	for _, c := range report.Connections {
		if !a.shared || needed[c.Name] {
			f.connections = append(f.connections, c)
		}
	}
	return f
}

// foreign gives a connection of the plan that no process of the region dials; a
// synchronization names those of all its regions, and dials its own.
func foreign(p *flow.Plan, of map[string]string, region string) string {
	if p.Sync != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(p.Bindings)) {
		if of[name] != "" && of[name] != region {
			return name
		}
	}
	return ""
}

// ours refuses a connection of another region.
func (s *systems) ours(plan *flow.Plan, c flow.Connection) error {
	of := c.Region
	if plan != nil && plan.Sync != nil {
		for _, r := range plan.Sync.Regions {
			if r.Connection == c.Name {
				of = r.Name // whatever was applied since
			}
		}
	}
	switch {
	case of == "" || of == s.region:
		return nil
	case s.region == "":
		return fault.New(fault.Rejected, CodeForeign, fmt.Sprintf(
			"connection %s belongs to region %s, and only processes of that region dial it; this one is of none", c.Name, of), nil)
	}
	return fault.New(fault.Rejected, CodeForeign, fmt.Sprintf(
		"connection %s belongs to region %s, and this process to region %s: it knows of the others what they export and nothing else", c.Name, of, s.region), nil)
}

// CodeForeign is the code of a connection that belongs to another region (promise 5).
const CodeForeign = "connection.region"
