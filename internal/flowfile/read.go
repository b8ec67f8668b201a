package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// readSection gives the type of the variable row: what is selected, no more.
func (c *compiler) readSection() expr.Type {
	d := &c.doc.read
	if !d.given() {
		return expr.Anything
	}
	read, row := c.reads(d, "read", c.env(d.at, c.paramsVar()))
	c.out.Read = read
	return row
}

// reads compiles a section that reads; env are the variables of its conditions.
func (c *compiler) reads(d *readDoc, name string, env *expr.Env) (*flow.Read, expr.Type) {
	table := c.table(d.from, name+".from")
	if system := c.connections[d.from.connection].System; unread[system] != "" {
		fix := "read another system"
		if slices.Contains(tellers, system) {
			fix = "react to it under on, or " + fix
		}
		c.add(d.from.at, CodeUnknownRef, fmt.Sprintf(name+".from: the connector %s %s and cannot be read", system, unread[system]), fix)
	}
	if table != nil && table.Price != (flow.Money{}) && c.out.Pattern != flow.Hybrid {
		c.add(d.from.at, CodePattern, fmt.Sprintf("%s.from: asking %s.%s costs %s, and only collect of a hybrid flow asks what costs money", name, d.from.connection, d.from.table, table.Price), "read it in a flow of the pattern hybrid")
	}
	read := &flow.Read{Connection: d.from.connection, Table: d.from.table}
	c.where(read, d, name, env, table)

	columns := map[string]expr.Type{}
	known := table != nil && d.columns.ok // else what a row has is unknown
	for _, s := range d.columns.items {
		if _, twice := columns[s.value]; twice && s.value != "" {
			c.add(s.at, CodeDuplicateKey, fmt.Sprintf("%s is selected twice", s.value), "remove one of the two")
			continue
		}
		known = known && s.value != ""
		if s.value == "" {
			continue
		}
		columns[s.value] = expr.Anything
		if !c.column(s.at, s.value, name+".select", table) {
			continue
		}
		if table != nil && table.Columns[s.value] != "" {
			columns[s.value] = expr.Scalar(table.Columns[s.value])
		}
		read.Select = append(read.Select, s.value)
	}
	if d.columns.ok && len(d.columns.items) == 0 {
		c.add(d.columns.at, CodeRequired, name+".select names no column", "name the columns that the flow needs")
	}
	c.fetches(read, d, name, table)
	for _, e := range d.expand.entries {
		if _, taken := columns[e.key]; taken {
			c.add(e.keyAt, CodeID, fmt.Sprintf("%s is also a selected column", e.key), "choose another name for the child rows")
			continue
		}
		if read.Expand == nil {
			read.Expand = map[string]string{}
		}
		read.Expand[e.key] = e.value.value
		columns[e.key] = expr.List(c.children(e, table))
	}
	if !known {
		return read, expr.Anything
	}
	return read, expr.Object(columns)
}

func (c *compiler) children(e entry[text], table *flow.Table) expr.Type {
	path := e.value.value
	if table == nil || path == "" {
		return expr.Anything
	}
	child, ok := table.Children[path]
	if _, wired := table.Expand[path]; !ok && !wired && len(table.Children)+len(table.Expand) > 0 {
		known := slices.Concat(slices.Collect(maps.Keys(table.Children)), slices.Collect(maps.Keys(table.Expand)))
		slices.Sort(known)
		c.add(e.value.at, CodeUnknownColumn, fmt.Sprintf("read.expand: the table %s has no child rows %q", table.Name, clip(path)),
			suggest(path, slices.Compact(known), ""))
	}
	return expr.Columns(child)
}

func (c *compiler) where(read *flow.Read, d *readDoc, name string, env *expr.Env, table *flow.Table) {
	for _, w := range d.where.entries {
		want := expr.Anything
		if c.column(w.keyAt, w.key, name+".where", table) && table != nil {
			want = expr.Scalar(table.Columns[w.key])
			if table.Columns[w.key] == flow.Document {
				c.add(w.keyAt, CodeType, fmt.Sprintf("%s.where: nothing is looked for by the bytes of a document", name), "name the key of the row")
			}
		}
		c.compile(env, w.value, want, noBetter)
		read.Where = append(read.Where, flow.Match{Column: w.key, Expr: w.value.source})
	}
	if table == nil {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(table.Where)) {
		read.Where = append(read.Where, flow.Match{Column: column, Expr: strconv.Quote(table.Where[column])})
	}
	named := map[string]bool{}
	for _, w := range read.Where {
		named[w.Column] = true
	}
	for _, key := range table.Keys {
		if !slices.ContainsFunc(key, func(column string) bool { return !named[column] }) {
			read.OneRow = true
		}
	}
}

func noBetter(string, string) string { return "" }

// selectIt explains a column that exists but is not read.
func (c *compiler) selectIt(of, name string) string {
	if of != "row" || c.out.Read == nil {
		return ""
	}
	if t, ok := c.connections[c.out.Read.Connection].Tables[c.out.Read.Table]; ok {
		if _, exists := t.Columns[name]; exists {
			return fmt.Sprintf("add %s to read.select", name)
		}
	}
	return ""
}
