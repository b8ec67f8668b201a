package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// examineBorders looks at both sides of the borders that the synchronizations in force
// cross: whether what is here may be read by nobody else, and whether what other regions
// have for us can be read. Where none is in force there is nothing to say.
func (a *api) examineBorders(ctx context.Context) []httpapi.Check {
	ctx, cancel := context.WithTimeout(ctx, 2*examined)
	defer cancel()
	applied, err := a.plans.List(ctx)
	if err != nil {
		v := broken(err)
		return []httpapi.Check{{Name: "border", Status: v.status, Detail: v.detail}}
	}
	var shared []*flow.Plan
	others := map[string]bool{}
	for _, f := range applied {
		if f.Plan.Sync == nil || f.Plan.Sync.Region(a.Region) == nil {
			continue
		}
		shared = append(shared, f.Plan)
		for _, r := range f.Plan.Sync.Regions {
			if r.Name != a.Region {
				others[r.Name] = true
			}
		}
	}
	if len(shared) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(others))
	found := make([]httpapi.Check, 1+len(names))
	var looking sync.WaitGroup
	looking.Go(func() {
		v := a.examineBorder(ctx, shared)
		found[0] = httpapi.Check{Name: "border", Status: v.status, Detail: v.detail}
	})
	for i, name := range names {
		looking.Go(func() {
			v := a.examineRegion(ctx, shared, name)
			found[1+i] = httpapi.Check{Name: "region " + name, Status: v.status, Detail: v.detail}
		})
	}
	looking.Wait()
	return found
}

// examineBorder looks at ours: every region has its part, and no role has more.
func (a *api) examineBorder(ctx context.Context, shared []*flow.Plan) verdictOf {
	type part struct{ flow, peer, table string }
	there := map[part]bool{}
	var rows int64
	for _, p := range shared {
		waiting, err := a.egress.Backlog(ctx, p.Flow)
		if err != nil {
			return broken(err)
		}
		for _, w := range waiting {
			there[part{p.Flow, w.Peer, w.Table}] = true
			rows += w.Rows
		}
	}
	for _, p := range shared {
		for _, r := range p.Sync.Regions {
			for _, t := range p.Sync.Tables {
				if r.Name != a.Region && !there[part{p.Flow, r.Name, t.Name}] {
					return failed("table %s of %s is not prepared for region %s; run `patchbay apply` as the owner of the database", t.Name, p.Flow, r.Name)
				}
			}
		}
	}
	excess, err := a.egress.Excess(ctx)
	if err != nil {
		return broken(err)
	}
	var elsewhere []string
	for _, x := range excess {
		if !x.Elsewhere {
			return failed("the role of region %s (%s) %s; run `patchbay apply` as the owner of the database", x.Region, x.Role, x.What)
		}
		elsewhere = append(elsewhere, fmt.Sprintf("the role of region %s (%s) %s", x.Region, x.Role, x.What))
	}
	if len(elsewhere) > 0 {
		return warn("%s; take it away", strings.Join(elsewhere, "; "))
	}
	return okay("each region reads its columns and nothing else; %d rows wait for them", rows)
}

// examineRegion reads at the border of another region what an import would.
func (a *api) examineRegion(ctx context.Context, shared []*flow.Plan, name string) verdictOf {
	begun, tables := time.Now(), 0
	for _, p := range shared {
		r := p.Sync.Region(name)
		if r == nil {
			continue
		}
		if r.Egress != "" {
			if _, err := a.Resolve(r.Egress); err != nil && a.face.Working == nil {
				return warn("not tried: where its border is, is not known here; a worker may know it")
			}
		}
		peer, err := a.mirrors.peer(ctx, p, name)
		if err != nil {
			return broken(err)
		}
		for i := range p.Sync.Tables {
			if err := peer.Agrees(ctx, p.Flow, &p.Sync.Tables[i]); err != nil {
				return failed("%s: %s", p.Flow, fault.Of(err).Text)
			}
			tables++
		}
	}
	return okay("%d tables may be read there, with the columns of our plan and no others, %s", tables, millis(begun))
}
