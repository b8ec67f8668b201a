package flowfile

import (
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
	table := c.table(d.to, "write.to")
	write := &flow.Write{Connection: d.to.connection, Table: d.to.table, Repeat: d.repeat.value != ""}
	c.out.Write = write
	for _, k := range d.key.items {
		switch {
		case k.value == "" || !c.column(k.at, k.value, "write.key", table):
		case slices.Contains(write.Key, k.value):
			c.add(k.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in write.key", k.value), "remove one of the two")
		default:
			write.Key = append(write.Key, k.value)
		}
	}
	c.retrySafe(write, table)
	return table
}

// retrySafe keeps promise 2: a write may only be tried again where its key makes
// the second try change nothing.
func (c *compiler) retrySafe(write *flow.Write, table *flow.Table) {
	d := &c.doc.write
	if len(write.Key) == 0 {
		if len(d.key.items) > 0 {
			return // what is wrong with them has been said
		}
		fix := "add key: with the columns that identify a row"
		if table != nil && len(table.Keys) > 0 {
			fix = fmt.Sprintf("add key: [%s]", strings.Join(table.Keys[0], ", "))
		}
		c.add(d.at, CodeRetryUnsafe, "write has no key, so a retry would write each row again", fix)
		return
	}
	if table == nil || write.Repeat || len(write.Key) < len(d.key.items) {
		return
	}
	for _, key := range table.Keys {
		if sameColumns(key, write.Key) {
			return
		}
	}
	fix := "declare the key in connections.yaml if the system keeps it unique, else write repeat: accepted"
	if len(table.Keys) > 0 {
		fix = fmt.Sprintf("use key: [%s], or write repeat: accepted", strings.Join(table.Keys[0], ", "))
	}
	c.add(d.key.at, CodeRetryUnsafe, fmt.Sprintf("%s declares no key of %s, so a retry may write a row twice", table.Name, strings.Join(write.Key, ", ")), fix)
}

func sameColumns(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
