package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
)

// prepareBorders makes what the other regions may read of this one, as the owner of the
// database, and says by which role each does.
func prepareBorders(ctx context.Context, s Settings, o ApplyOptions, f inForce) error {
	if s.Region == "" {
		return nil
	}
	for _, p := range f.without {
		if err := egress.Retire(ctx, s.Database, p.Flow); err != nil {
			return fmt.Errorf("removing the border of %s: %w", p.Flow, s.located(err))
		}
	}
	roles := map[string]string{}
	for _, p := range f.plans {
		if p.Sync == nil || p.Sync.Region(s.Region) == nil {
			continue
		}
		var peers []egress.PeerRole
		for _, r := range p.Sync.Regions {
			if r.Name != s.Region {
				roles[r.Name] = egress.RoleOf("", s.Database, r.Name)
				peers = append(peers, egress.PeerRole{Region: r.Name, Role: roles[r.Name], Password: o.Egress[r.Name]})
			}
		}
		if err := egress.Prepare(ctx, s.Database, s.Region, p, peers); err != nil {
			return fmt.Errorf("preparing the border for %s: %w", p.Flow, s.located(err))
		}
	}
	names := slices.Sorted(maps.Keys(roles))
	for _, given := range slices.Sorted(maps.Keys(o.Egress)) {
		if roles[given] == "" {
			return fault.Invalidf("egress.peer", "--egress-password names %q, which is no other region of these flows; they are %v", given, names)
		}
	}
	for _, name := range names {
		said := ", with the password that was given"
		if o.Egress[name] == "" {
			said = "; its password is as it was (--egress-password " + name + "=REFERENCE sets it)"
		}
		fmt.Fprintf(o.Out, "region %s reads what this one exports as role %s%s\n", name, roles[name], said)
	}
	return nil
}
