package flowfile

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// The systems whose connectors read and store documents; a test asks the connectors.
var (
	givers = []string{"graph", "ibm", "imap", "oracle", "sap"}
	takers = []string{"graph", "ibm", "oracle", "sap"}
)

// GivesDocuments reports whether a system's files can be read.
func GivesDocuments(system string) bool { return slices.Contains(givers, system) }

// TakesDocuments reports whether files can be stored in a system.
func TakesDocuments(system string) bool { return slices.Contains(takers, system) }

// fetches makes a column of a document one whose bytes are read in.
func (c *compiler) fetches(read *flow.Read, d *readDoc, name string, table *flow.Table) {
	if table == nil {
		return
	}
	for _, s := range d.columns.items {
		if s.value == "" || table.Columns[s.value] != flow.Document {
			continue
		}
		system := c.connections[read.Connection].System
		switch {
		case c.out.Pattern != flow.Service:
			c.add(s.at, CodePattern, fmt.Sprintf("%s.select: a flow of the pattern %s reads no documents", name, c.out.Pattern), "write a service with a step that selects "+s.value)
		case !GivesDocuments(system):
			c.add(s.at, CodeUnknownRef, fmt.Sprintf("%s.select: the connector %s gives no documents", name, system), "those that do: "+strings.Join(givers, ", "))
		case read.Document != "":
			c.add(s.at, CodeDuplicateKey, fmt.Sprintf("%s.select names two documents", name), "read each by a step of its own")
		case !read.OneRow || len(table.Keys) == 0 || len(table.Keys[0]) != 1:
			c.add(s.at, CodeRequired, fmt.Sprintf("%s.select: a document is read of one row, and where names none by its key", name), "add to where the key of "+table.Name+", and declare that as its first, a column alone, in connections.yaml")
		default:
			read.Document = s.value
		}
	}
}

// stores makes a write one of a document, where mapping fills such a column. It reports
// whether it does.
func (c *compiler) stores(d *writeDoc, name string, mapping *dict[cel, *cel], write *flow.Write, table *flow.Table) bool {
	if table == nil {
		return false
	}
	for _, m := range mapping.entries {
		if table.Columns[m.key] != flow.Document {
			continue
		}
		system := c.connections[write.Connection].System
		switch {
		case c.out.Pattern != flow.Service:
			c.add(m.keyAt, CodePattern, fmt.Sprintf("%s: a flow of the pattern %s stores no documents", name, c.out.Pattern), "write a service with a step that stores it")
		case !TakesDocuments(system):
			c.add(d.to.at, CodeRetryUnsafe, fmt.Sprintf("%s.to: the connector %s stores no documents", name, system), "those that do: "+strings.Join(takers, ", "))
		case write.Document != "":
			c.add(m.keyAt, CodeDuplicateKey, name+" stores two documents", "write a step for each")
		case !slices.Contains(write.Key, flow.FileName) && len(write.Key) == len(d.key.items):
			c.add(d.at, CodeRequired, fmt.Sprintf("%s: the key of a document has its name", name), fmt.Sprintf("add %s to key, and to with: %s: DOCUMENT.name", flow.FileName, flow.FileName))
		}
		write.Document = m.key
	}
	return write.Document != ""
}

// unstored checks what takes a document back: no document.
func (s *services) unstored(d *stepDoc, t *flow.Task) {
	if t.Write == nil || t.Write.Document == "" {
		return
	}
	for _, u := range d.undo.entries {
		if u.key != t.Write.Document || u.value.source != "null" {
			s.add(u.keyAt, CodePattern, fmt.Sprintf("%s.undo: a document is taken back as a whole", d.step.value), fmt.Sprintf(`write undo: { %s: "null" }`, t.Write.Document))
		}
	}
}
