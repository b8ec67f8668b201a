package join

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// digestSize is how much of a SHA-256 tells one value from another.
const digestSize = 16

type (
	// Plan is a consolidation made ready: its expressions, and which columns are told
	// apart when a target row is compared with what the target holds. Build it once a
	// plan; several may use it at a time.
	Plan struct {
		plan    *flow.Plan
		base    int // place of the source whose keys count; -1: of all
		columns []column
		names   []string
		keyed   []int // columns that identify a target row
		// parts are the columns that depend on the same sources. A source that is missing
		// leaves the others comparable.
		parts  []part
		layout string
		unique bool // two keys never make one target key
		timed  bool
	}

	column struct {
		expr.GatheredColumn
		source int // of a bare path: place of the source, -1: the key itself
		cell   int
		uses   []int
		part   int
	}

	part struct {
		uses []int
	}
)

// NewPlan compiles a consolidation.
func NewPlan(p *flow.Plan) (*Plan, error) {
	g, err := expr.Gather(p)
	if err != nil {
		return nil, fmt.Errorf("compiling the map of %s: %w", p.Flow, err)
	}
	out := &Plan{plan: p, base: -1, timed: g.Timed()}
	if p.Gather.Base != "" {
		if out.base = out.place(p.Gather.Base); out.base < 0 {
			return nil, fault.New(fault.Bug, "bug.plan", "the base of "+p.Flow+" is none of its sources", nil)
		}
	}
	parts := map[string]int{}
	var layout []string
	for _, c := range g.Columns {
		col := column{GatheredColumn: c, source: -1}
		if len(c.Path) == 2 {
			col.source = out.place(c.Path[0])
			if col.cell = slices.Index(p.Gather.Sources[col.source].Select, c.Path[1]); col.cell < 0 {
				return nil, fault.New(fault.Bug, "bug.plan", "the column "+c.Path[1]+" of "+c.Path[0]+" is not selected", nil)
			}
		}
		for _, name := range c.Uses {
			col.uses = append(col.uses, out.place(name))
		}
		of := strings.Join(c.Uses, ",")
		at, known := parts[of]
		if !known {
			at = len(out.parts)
			parts[of] = at
			out.parts = append(out.parts, part{uses: col.uses})
			layout = append(layout, "")
		}
		col.part = at
		layout[at] += c.Name + "\x00"
		out.columns = append(out.columns, col)
		out.names = append(out.names, c.Name)
	}
	for _, k := range p.Write.Key {
		at := slices.Index(out.names, k)
		if at < 0 {
			return nil, fault.New(fault.Bug, "bug.plan", "the key column "+k+" of "+p.Flow+" is not mapped", nil)
		}
		out.keyed = append(out.keyed, at)
		out.unique = out.unique || len(out.columns[at].Path) == 1
	}
	// What another target holds says nothing of this one.
	layout = append(append(layout, p.Write.Connection, p.Write.Table), p.Write.Key...)
	sum := sha256.Sum256([]byte(strings.Join(layout, "\x01")))
	out.layout = hex.EncodeToString(sum[:digestSize])
	return out, nil
}

func (p *Plan) place(name string) int {
	return slices.IndexFunc(p.plan.Gather.Sources, func(s flow.Source) bool { return s.Name == name })
}

// Columns are the columns of target rows.
func (p *Plan) Columns() []string { return p.names }

// Layout names how the digests of target rows are made up: those of another layout say
// nothing.
func (p *Plan) Layout() string { return p.layout }

// Timed reports whether a value depends on when a source was read.
func (p *Plan) Timed() bool { return p.timed }

// Fields tells where the value of each column comes from. Columns that depend on a
// missing source come from nowhere.
func (p *Plan) Fields(asOf []time.Time) map[string]flow.Provenance {
	fields := make(map[string]flow.Provenance, len(p.columns))
	for _, c := range p.columns {
		from := flow.Provenance{Sources: c.Uses}
		if from.Sources == nil {
			from.Sources = []string{}
		}
		for _, i := range c.uses {
			switch at := asOf[i]; {
			case at.IsZero():
				from.Missing = append(from.Missing, p.plan.Gather.Sources[i].Name)
			case from.AsOf.IsZero() || at.Before(from.AsOf):
				from.AsOf = at
			}
		}
		fields[c.Name] = from
	}
	return fields
}
