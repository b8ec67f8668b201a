package flowfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

func (c *compiler) writeSection() *flow.Table {
	d := &c.doc.write
	if !d.given() {
		return nil
	}
	write, table := c.writes(d, "write", &c.doc.mapping)
	c.out.Write = write
	return table
}

// writes compiles a section that writes the rows that mapping makes.
func (c *compiler) writes(d *writeDoc, name string, mapping *dict[cel, *cel]) (*flow.Write, *flow.Table) {
	table := c.table(d.to, name+".to")
	write := &flow.Write{Connection: d.to.connection, Table: d.to.table, Repeat: d.repeat.value != ""}
	for _, k := range d.key.items {
		switch {
		case k.value == "" || !c.column(k.at, k.value, name+".key", table):
		case slices.Contains(write.Key, k.value):
			c.add(k.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in %s.key", k.value, name), "remove one of the two")
		default:
			write.Key = append(write.Key, k.value)
		}
	}
	if c.stores(d, name, mapping, write, table) {
		c.retrySafe(d, name, mapping, write, table)
		return write, table
	}
	if why, fix := c.unwritable(write.Connection, write.Table); why != "" {
		c.add(d.to.at, CodeRetryUnsafe, name+".to: "+why, fix)
		return write, table
	}
	c.retrySafe(d, name, mapping, write, table)
	return write, table
}

// unwritable says why no row is written to a table, and what to do; "" where one is.
func (c *compiler) unwritable(connection, table string) (why, fix string) {
	to := c.connections[connection]
	switch {
	case slices.Contains(readers, to.System):
		return fmt.Sprintf("the connector %s offers no write by key or version and no read-back", to.System), "write to another system"
	case slices.Contains(referring, to.System) && !strings.Contains(","+strings.ReplaceAll(to.Options["reference"], " ", ""), ","+table+"."):
		return fmt.Sprintf("%s gives rows keys of its own, and option reference of %s names no column of %s by which a row would be found again", to.System, connection, table),
			fmt.Sprintf("add reference: %s.COLUMN to the options of %s, if the system keeps what is written there", table, connection)
	}
	return "", ""
}

// Writes reports whether flows may write to a system.
func Writes(system string) bool {
	return slices.Contains(systems, system) && !slices.Contains(readers, system)
}

// Forgets reports whether a system keeps no key of what is written to it.
func Forgets(system string) bool { return slices.Contains(forgetful, system) }

// retrySafe keeps promise 2: a write may only be tried again where its key makes
// the second try change nothing.
func (c *compiler) retrySafe(d *writeDoc, name string, mapping *dict[cel, *cel], write *flow.Write, table *flow.Table) {
	if len(write.Key) == 0 {
		if len(d.key.items) > 0 {
			return // what is wrong with them has been said
		}
		fix := "add key: with the columns that identify a row"
		if key, before := declaredKey(table, mapping); key != "" {
			fix = before + "add " + key
		}
		c.add(d.at, CodeRetryUnsafe, name+" has no key, so a retry would write each row again", fix)
		return
	}
	if table == nil || write.Repeat || len(write.Key) < len(d.key.items) {
		return
	}
	to := c.connections[write.Connection]
	if to.System == "rest" && option(to, write.Table, "write") == "POST" && option(to, write.Table, "idempotency_header") == "" {
		c.add(d.to.at, CodeRetryUnsafe, name+".to: rows are sent by POST, so a retry may send a row twice", fmt.Sprintf("name the system's idempotency_header in the options of %s, else write repeat: accepted", write.Connection))
		return
	}
	if system := to.System; Forgets(system) {
		c.add(d.to.at, CodeRetryUnsafe, fmt.Sprintf(name+".to: a system behind the connector %s keeps no key, so a retry may send a row twice", system), "write repeat: accepted")
		return
	}
	for _, key := range table.Keys {
		if sameColumns(key, write.Key) {
			return
		}
	}
	fix := "declare the key in connections.yaml if the system keeps it unique, else write repeat: accepted"
	if key, before := declaredKey(table, mapping); key != "" {
		fix = before + "use " + key + ", or write repeat: accepted"
	}
	c.add(d.key.at, CodeRetryUnsafe, fmt.Sprintf("%s declares no key of %s, so a retry may write a row twice", table.Name, strings.Join(write.Key, ", ")), fix)
}

// option is that of a table of a rest connection, else of all its tables.
func option(c flow.Connection, table, name string) string {
	return cmp.Or(c.Options[table+"."+name], c.Options[name])
}

// declaredKey proposes a key that the table declares: one that map fills, else
// the first, with what to do before it can be used.
func declaredKey(table *flow.Table, mapping *dict[cel, *cel]) (key, before string) {
	if table == nil || len(table.Keys) == 0 {
		return "", ""
	}
	filled := map[string]bool{}
	for _, e := range mapping.entries {
		filled[e.key] = true
	}
	missing := func(key []string) []string {
		return slices.DeleteFunc(slices.Clone(key), func(column string) bool { return filled[column] })
	}
	best := table.Keys[0]
	if i := slices.IndexFunc(table.Keys, func(key []string) bool { return len(missing(key)) == 0 }); i >= 0 {
		best = table.Keys[i]
	}
	if add := missing(best); len(add) > 0 {
		before = fmt.Sprintf("add %s to map and ", strings.Join(add, ", "))
	}
	return fmt.Sprintf("key: [%s]", strings.Join(best, ", ")), before
}

func sameColumns(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
