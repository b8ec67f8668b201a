package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// proseNames are the ends of the names of columns that hold whatever somebody wrote.
var proseNames = []string{
	"body", "comment", "comments", "description", "details", "freetext", "memo", "message", "narrative", "note", "notes", "notetext",
	"reason", "remark", "remarks", "subject", "summary", "text",
}

// prose says why a column counts as free text; "" where it does not. A column may hold
// anything that a person types if connections.yaml says so, if it is of no particular
// type, or if it is text whose name ends, digits aside, in one of proseNames.
func prose(column string, kind flow.Type, views []regional) string {
	for _, v := range views {
		if slices.Contains(v.table.Prose, column) {
			return "prose of " + v.connection + " in connections.yaml"
		}
	}
	name := strings.TrimRight(strings.ToLower(column), "0123456789")
	switch {
	case kind == flow.Any:
		return "it is of the type any"
	case kind == flow.String && slices.ContainsFunc(proseNames, func(end string) bool { return strings.HasSuffix(name, end) }):
		return "by its name"
	}
	return ""
}

// allowed takes a column that may cross.
func (c *compiler) allowed(t *flow.SyncTable, a *allowDoc, section string, views []regional) {
	name := a.name.value
	if name == "" {
		return
	}
	has := func(s flow.SyncColumn) bool { return s.Name == name }
	switch {
	case slices.Contains(t.Key, name):
		c.add(a.at, CodeDuplicateKey, fmt.Sprintf("%s: %s is the key, which crosses in any case", section, name), "remove it")
		return
	case slices.ContainsFunc(t.Columns, has):
		c.add(a.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in %s", name, section), "remove one of the two")
		return
	}
	column := flow.SyncColumn{Name: name, Type: flow.Any, Backfill: a.about.backfill.value, Opened: a.about.open.by.value}
	if column.Refers = a.about.refers.value; column.Refers == "" {
		column.Refers = c.refersTo(name, views)
	}
	if !c.leaves(a.at, "allow", t.Name, name, views) {
		if kind, ok := c.shared(a.at, section, name, views); ok {
			column.Type = kind
			if why := prose(name, kind, views); why != "" && !a.about.open.given() && column.Refers == "" {
				c.add(a.at, CodeFreeText, fmt.Sprintf("%s: %s is free text (%s), which starts restricted: it may hold what no other column tells", section, name, why),
					fmt.Sprintf("leave it out, or write who allows it: - %s: { open: { by: NAME } }", name))
			}
		}
	}
	t.Columns = append(t.Columns, column)
}

// refersTo is the table whose record a column identifies, as connections.yaml says.
func (c *compiler) refersTo(column string, views []regional) string {
	for _, v := range views {
		if to := v.table.Refers[column]; to != "" {
			return to
		}
	}
	return ""
}

// references checks that a record comes after those that it refers to.
func (c *compiler) references() {
	tables := c.out.Sync.Tables
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	for i, e := range c.doc.tables.entries {
		for _, a := range e.value.allow.items {
			at := slices.IndexFunc(tables[i].Columns, func(s flow.SyncColumn) bool { return s.Name == a.name.value })
			if at < 0 || tables[i].Columns[at].Refers == "" {
				continue
			}
			p, to := a.at, tables[i].Columns[at].Refers
			if a.about.refers.given() {
				p = a.about.refers.at
			}
			what := fmt.Sprintf("tables.%s.allow: %s refers to %s", e.key, a.name.value, clip(to))
			switch parent := slices.Index(names, to); {
			case parent < 0:
				c.add(p, CodeUnknownTable, what+", which is no table of this flow: nobody could tell which record is meant",
					suggest(to, names, fmt.Sprintf("add %s to tables, above %s, or leave the column out", to, e.key)))
			case parent <= i: // above, or a record of the same table, which waits for the other
			case reaches(tables, to, e.key):
				c.add(p, CodeSyncOrder, what+", which refers to "+e.key+" again: neither can be first", "leave one of the columns out")
			default:
				c.add(p, CodeSyncOrder, what+", which stands below it", fmt.Sprintf("put %s above %s", to, e.key))
			}
		}
	}
}

// reaches reports whether a table refers to another, itself or by others.
func reaches(tables []flow.SyncTable, from, to string) bool {
	refers := map[string][]string{}
	for _, t := range tables {
		for _, s := range t.Columns {
			if s.Refers != "" && s.Refers != t.Name {
				refers[t.Name] = append(refers[t.Name], s.Refers)
			}
		}
	}
	seen, next := map[string]bool{}, []string{from}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if name == to {
			return true
		}
		if !seen[name] {
			seen[name] = true
			next = append(next, refers[name]...)
		}
	}
	return false
}

// conflicts takes the rules, the default first.
func (c *compiler) conflicts() {
	s := c.out.Sync
	s.Conflict = []flow.ConflictRule{{Rule: flow.RuleLatest}}
	regions := map[string]bool{}
	for _, r := range c.doc.regions.entries {
		regions[r.key] = true
	}
	for _, e := range c.doc.conflict.entries {
		r := flow.ConflictRule{Rule: e.value.rule, Region: e.value.region}
		if r.Region != "" && !regions[r.Region] {
			c.add(e.value.regionAt, CodeRegion, fmt.Sprintf("conflict.%s: the flow has no region %q", e.key, clip(r.Region)), suggest(r.Region, slices.Sorted(maps.Keys(regions)), ""))
		}
		if e.key == "default" {
			s.Conflict[0] = r
			continue
		}
		if c.decides(&r, e) {
			s.Conflict = append(s.Conflict, r)
		}
	}
}

// decides finds what a rule is for.
func (c *compiler) decides(r *flow.ConflictRule, e entry[conflictDoc]) bool {
	var names []string
	for _, t := range c.out.Sync.Tables {
		names = append(names, t.Name)
	}
	r.Table, r.Column, _ = strings.Cut(e.key, ".")
	t := c.out.Sync.Table(r.Table)
	if t == nil {
		c.add(e.keyAt, CodeUnknownTable, fmt.Sprintf("conflict: the flow shares no table %q", clip(r.Table)), suggest(r.Table, append(names, "default"), ""))
		return false
	}
	if r.Column == "" {
		return true
	}
	var columns []string
	for _, s := range t.Columns {
		columns = append(columns, s.Name)
	}
	switch {
	case slices.Contains(columns, r.Column):
		return true
	case slices.Contains(t.Key, r.Column):
		c.add(e.keyAt, CodeUnused, fmt.Sprintf("conflict: %s is the key of %s: another key is another record, and nothing to decide", r.Column, r.Table), "remove it")
	default:
		c.add(e.keyAt, CodeUnknownColumn, fmt.Sprintf("conflict: %s allows no column %q", r.Table, clip(r.Column)), suggest(r.Column, columns, "add it to allow"))
	}
	return false
}
