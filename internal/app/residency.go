package app

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"patchbay/internal/check"
	"patchbay/internal/flow"
)

// Borders says in a line for each flow what a directory of flows carries over which
// borders: what a deploy is looked at for. Nothing is resolved for it.
func Borders(files fs.FS, name string) ([]string, error) {
	report, err := check.Dir(files, check.Options{Name: name})
	if err != nil {
		return nil, err
	}
	type sums struct {
		borders []string
		columns []string
	}
	by := map[string]*sums{}
	var order, lines []string
	for _, c := range check.Crossings(report) {
		s := by[c.Flow]
		if s == nil {
			s = &sums{}
			by[c.Flow] = s
			order = append(order, c.Flow)
		}
		if border := Border(c); !slices.Contains(s.borders, border) {
			s.borders = append(s.borders, border)
		}
		_, table, _ := strings.Cut(c.Source, ".")
		for _, column := range c.Columns {
			if one := table + "." + column; !slices.Contains(s.columns, one) {
				s.columns = append(s.columns, one)
			}
		}
	}
	for _, name := range order {
		s := by[name]
		lines = append(lines, fmt.Sprintf("residency: %s carries %d columns over %d borders (%s); patchbay check --residency names them", name, len(s.columns), len(s.borders), strings.Join(s.borders, ", ")))
	}
	if len(lines) == 0 {
		lines = append(lines, "residency: no flow carries anything over a border")
	}
	return lines, nil
}

// reports says of each flow that is put in force what it lets cross which border.
func reports(plans []*flow.Plan, report check.Report, by string) []flow.ResidencyReport {
	all := make([]flow.ResidencyReport, len(plans))
	at := map[string]int{}
	for i, p := range plans {
		all[i] = flow.ResidencyReport{Flow: p.Flow, Digest: p.Digest(), By: by, Crossings: []flow.Crossing{}}
		at[p.Flow] = i
	}
	for _, c := range check.Crossings(report) {
		if i, applied := at[c.Flow]; applied {
			all[i].Crossings = append(all[i].Crossings, flow.Crossing{From: c.From, To: c.To, Source: c.Source, Target: c.Target, Columns: c.Columns})
		}
	}
	return all
}

// Border names the regions on both sides.
func Border(c check.Crossing) string {
	name := func(region string) string {
		if region == "" {
			return "(no region)"
		}
		return region
	}
	return name(c.From) + " → " + name(c.To)
}
