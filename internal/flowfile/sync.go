package flowfile

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// The defaults of synchronizations.
const (
	defaultSkew      = time.Minute
	defaultReconcile = 15 * time.Minute
	defaultMaxRow    = 64 << 10
	maxSkew          = 24 * time.Hour
)

// sharers are the connectors of systems that tell of changes, and write by version: what
// sharing records between regions takes.
var sharers = []string{"dataverse", "postgres"}

// regional is a region and its system's view of one table.
type regional struct {
	region, connection string
	table              flow.Table
}

func (v regional) String() string { return fmt.Sprintf("%s (%s)", v.region, v.connection) }

// synchronization compiles the sections of a synchronization.
func (c *compiler) synchronization() {
	d := c.doc
	s := &flow.Sync{Skew: defaultSkew, Reconcile: c.duration(d.reconcile, defaultReconcile), Lag: c.duration(d.expect.lag, 0), MaxRow: count(d.maxRow, defaultMaxRow)}
	c.out.Sync = s
	c.out.Limits = flow.Limits{Timeout: maxRun, Concurrent: defaultConcurrent, PerUser: defaultPerUser, Queue: defaultQueue}
	// A skew is of the clocks of real systems: it is not divided by the speed.
	if d.skew.ok {
		s.Skew = d.skew.value
	}
	if s.Skew > maxSkew {
		c.add(d.skew.at, CodeRange, "skew is longer than 24h", "write what the clocks of the systems really differ by, such as 1m")
	}
	if l := d.expect.lag; l.ok && l.value <= 0 {
		c.add(l.at, CodeRange, "expect.lag is zero, which nothing keeps", "write a duration such as 30s")
	}
	if d.expect.given() && !d.expect.lag.given() && !d.expect.perDay.given() && !d.expect.perMonth.given() {
		c.add(d.expect.at, CodeRequired, "expect says nothing", "add lag")
	}
	c.regions()
	c.restricted()
	for _, e := range d.tables.entries {
		s.Tables = append(s.Tables, c.syncTable(e))
	}
	if d.tables.given() && len(d.tables.entries) == 0 {
		c.add(d.tables.at, CodeRequired, "tables names none, so nothing would be shared", "write TABLE: { key: [COLUMN], allow: [COLUMN, …] } below it")
	}
	c.references()
	c.conflicts()
}

// regions binds the plan to the connection of each region.
func (c *compiler) regions() {
	d := &c.doc.regions
	first := map[string]string{} // connection → region
	for _, e := range d.entries {
		name, at := e.value.value, e.value.at
		section := "regions." + e.key
		if name == "" {
			continue
		}
		connection, ok := c.connections[name]
		if !ok {
			c.add(at, CodeUnknownConnection, fmt.Sprintf("%s: there is no connection %q", section, clip(name)), suggest(name, slices.Sorted(maps.Keys(c.connections)), "declare it in connections.yaml"))
			continue
		}
		if other, taken := first[name]; taken {
			c.add(at, CodeRegion, fmt.Sprintf("%s: %s is also the connection of %s", section, name, other), "each region has a system of its own")
			continue
		}
		first[name] = e.key
		if connection.Region != "" && connection.Region != e.key {
			c.add(at, CodeRegion, fmt.Sprintf("%s: connections.yaml says that %s is in %s", section, name, connection.Region), "name the connection of this region")
		}
		if connection.System != "" && !slices.Contains(sharers, connection.System) {
			c.add(at, CodeRegion, fmt.Sprintf("%s: the connector %s does not share records between regions", section, connection.System), "those that do: "+strings.Join(sharers, ", "))
		}
		peer := slices.IndexFunc(c.options.Peers, func(p flow.Peer) bool { return p.Region == e.key })
		if c.options.Peers != nil && peer < 0 {
			c.add(e.keyAt, CodeRegion, fmt.Sprintf("%s: connections.yaml does not say how the others reach %s", section, e.key),
				fmt.Sprintf("add regions: { %s: { egress: \"${env:PATCHBAY_EGRESS_%s}\" } } there", e.key, strings.ToUpper(strings.ReplaceAll(e.key, "-", "_"))))
		}
		c.bind(connection, at, section)
		r := flow.Region{Name: e.key, Connection: name}
		if peer >= 0 {
			r.Egress = c.options.Peers[peer].Egress
		}
		c.out.Sync.Regions = append(c.out.Sync.Regions, r)
	}
	slices.SortFunc(c.out.Sync.Regions, func(a, b flow.Region) int { return cmp.Compare(a.Name, b.Name) })
	if d.given() && len(d.entries) < 2 {
		c.add(d.at, CodeRequired, "regions names fewer than two, and one has nobody to share with", "name two or more: { de: CONNECTION, fr: CONNECTION }")
	}
}

// views are the table as each region has it, of those that have it.
func (c *compiler) views(table string) (have []regional, lack []regional) {
	for _, r := range c.out.Sync.Regions {
		v := regional{region: r.Name, connection: r.Connection}
		t, ok := c.connections[r.Connection].Tables[table]
		if v.table = t; ok {
			have = append(have, v)
		} else {
			lack = append(lack, v)
		}
	}
	return have, lack
}

func named(list []regional) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.connection
	}
	return strings.Join(out, ", ")
}

// tableNamesOf are the tables that the systems of the regions have.
func (c *compiler) tableNamesOf() []string {
	all := map[string]bool{}
	for _, r := range c.out.Sync.Regions {
		for name := range c.connections[r.Connection].Tables {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// restricted takes the columns that must not leave.
func (c *compiler) restricted() {
	for _, f := range c.doc.restricted.items {
		if f.column == "" {
			continue
		}
		name := f.table + "." + f.column
		have, _ := c.views(f.table)
		known, open := map[string]bool{}, len(have) == 0
		for _, v := range have {
			open = open || len(v.table.Columns) == 0
			for column := range v.table.Columns {
				known[column] = true
			}
			for path, children := range v.table.Children {
				for column := range children {
					known[path+"."+column] = true
				}
			}
		}
		switch {
		case len(have) == 0 && len(c.out.Sync.Regions) > 0:
			c.add(f.at, CodeUnknownTable, fmt.Sprintf("restricted: no region has a table %q", clip(f.table)), suggest(f.table, c.tableNamesOf(), "declare it in connections.yaml"))
		case !open && !known[f.column]:
			c.add(f.at, CodeUnknownColumn, fmt.Sprintf("restricted: in no region the table %s has a column %q", f.table, clip(f.column)), suggest(f.column, slices.Sorted(maps.Keys(known)), ""))
		case slices.Contains(c.out.Sync.Restricted, name):
			c.add(f.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in restricted", name), "remove one of the two")
		default:
			c.out.Sync.Restricted = append(c.out.Sync.Restricted, name)
		}
	}
}

// leaves refuses what is restricted where it would cross, and says which way it would go.
func (c *compiler) leaves(p at, section, table, column string, views []regional) bool {
	who := ""
	switch {
	case slices.Contains(c.out.Sync.Restricted, table+"."+column):
		who = "restricted"
	default:
		for _, v := range views {
			if slices.Contains(v.table.Restricted, column) {
				who = "restricted of " + v.connection + " in connections.yaml"
				break
			}
		}
	}
	if who == "" {
		return false
	}
	to := make([]string, len(views))
	for i, v := range views {
		to[i] = v.connection + "." + table
	}
	c.add(p, CodeRestricted, fmt.Sprintf("a restricted column would leave its region: %s.%s → %s of %s:%d → %s", table, column, section, path.Base(c.reader.file), max(p.line, 1), strings.Join(to, ", ")),
		"leave it out; it is named under "+who)
	return true
}

func (c *compiler) syncTable(e entry[syncTableDoc]) flow.SyncTable {
	d, name := e.value, "tables."+e.key
	t := flow.SyncTable{Name: e.key, Clock: d.clock.value}
	have, lack := c.views(e.key)
	if len(lack) > 0 {
		c.add(e.keyAt, CodeUnknownTable, fmt.Sprintf("%s: there is no table %q in %s", name, clip(e.key), named(lack)), suggest(e.key, c.tableNamesOf(), "declare it in connections.yaml"))
	}
	for _, v := range have {
		if len(v.table.Columns) == 0 {
			c.add(e.keyAt, CodeSyncType, fmt.Sprintf("%s: connections.yaml lists no columns of it for %s, so nothing says whether they are the same everywhere", name, v), "list them under columns")
		}
	}
	c.syncKey(&t, d, name, have)
	for _, a := range d.allow.items {
		c.allowed(&t, a, name+".allow", have)
	}
	if d.allow.ok && len(d.allow.items) == 0 {
		c.add(d.allow.at, CodeRequired, name+".allow names no column", "name the columns that may cross, or leave the table out")
	}
	if t.Clock != "" && !c.leaves(d.clock.at, "clock", e.key, t.Clock, have) {
		if kind, ok := c.shared(d.clock.at, name+".clock", t.Clock, have); ok && kind != flow.Timestamp {
			c.add(d.clock.at, CodeType, fmt.Sprintf("%s.clock: %s is a %s, and a clock is a timestamp", name, t.Clock, kind), "name the column that says when a record was changed last, or leave clock out")
		}
	}
	return t
}

// shared gives the type that a column has in every region; false after a diagnostic, or
// where it is not known.
func (c *compiler) shared(p at, section, column string, views []regional) (flow.Type, bool) {
	var lack, known []regional
	for _, v := range views {
		if len(v.table.Columns) == 0 {
			continue
		}
		if _, ok := v.table.Columns[column]; ok {
			known = append(known, v)
		} else {
			lack = append(lack, v)
		}
	}
	if len(lack) > 0 {
		c.add(p, CodeUnknownColumn, fmt.Sprintf("%s: the table %s has no column %q in %s", section, lack[0].table.Name, clip(column), named(lack)),
			suggest(column, slices.Sorted(maps.Keys(lack[0].table.Columns)), ""))
		return "", false
	}
	if len(known) == 0 {
		return "", false
	}
	kind := known[0].table.Columns[column]
	for _, v := range known[1:] {
		if other := v.table.Columns[column]; other != kind {
			c.add(p, CodeSyncType, fmt.Sprintf("%s: %s is a %s in %s and a %s in %s", section, column, kind, known[0], other, v), "only columns of one type are shared; leave it out, or put connections.yaml right")
			return "", false
		}
	}
	return kind, true
}

// syncKey takes what identifies a record in every region.
func (c *compiler) syncKey(t *flow.SyncTable, d *syncTableDoc, name string, views []regional) {
	section := name + ".key"
	whole := d.key.ok
	for _, k := range d.key.items {
		if k.value == "" {
			whole = false
			continue
		}
		if slices.Contains(t.Key, k.value) {
			c.add(k.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in %s", k.value, section), "remove one of the two")
			continue
		}
		t.Key = append(t.Key, k.value)
		if c.leaves(k.at, "key", t.Name, k.value, views) {
			whole = false
			continue
		}
		kind, ok := c.shared(k.at, section, k.value, views)
		whole = whole && ok
		refers := c.refersTo(k.value, views)
		switch {
		case !ok:
		case refers != "":
			c.add(k.at, CodeSyncKey, fmt.Sprintf("%s: %s is the ID that a system gave a record of %s, which is another in every region", section, k.value, refers), "choose a key that has the same value everywhere")
		case kind == flow.Any || kind == flow.Decimal:
			c.add(k.at, CodeSyncKey, fmt.Sprintf("%s: %s is of the type %s, of which equal values are written in several ways", section, k.value, kind), "choose a key of text, whole numbers or dates")
		default:
			if why := prose(k.value, kind, views); why != "" {
				c.add(k.at, CodeFreeText, fmt.Sprintf("%s: %s is free text (%s)", section, k.value, why), "choose a key that says nothing of a person")
			}
		}
	}
	if d.key.ok && len(d.key.items) == 0 {
		c.add(d.key.at, CodeRequired, section+" names no column", "name the key that every region declares")
	}
	if !whole || len(t.Key) == 0 {
		return
	}
	undeclared := slices.DeleteFunc(slices.Clone(views), func(v regional) bool {
		return slices.ContainsFunc(v.table.Keys, func(key []string) bool { return sameColumns(key, t.Key) })
	})
	if len(undeclared) > 0 {
		c.add(d.key.at, CodeSyncKey, fmt.Sprintf("%s: %s is no key of %s in %s, so two records there may have the same", section, strings.Join(t.Key, ", "), t.Name, named(undeclared)), commonKey(views))
	}
}

// commonKey proposes a key that all regions declare.
func commonKey(views []regional) string {
	const otherwise = "declare it under keys if the system keeps it unique"
	for _, key := range slices.Backward(views[0].table.Keys) { // the first is often the system's own ID
		everywhere := !slices.ContainsFunc(views, func(v regional) bool {
			return !slices.ContainsFunc(v.table.Keys, func(k []string) bool { return sameColumns(k, key) })
		})
		if everywhere {
			return otherwise + ", or use a key of all regions: [" + strings.Join(key, ", ") + "]"
		}
	}
	return otherwise
}
