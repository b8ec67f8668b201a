package sap

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// linesOf are the names under which the documents of sales lead to their lines, in V2
// and in V4.
var linesOf = []string{"to_Item", "_Item"}

// rejection is the column of a line by which nothing comes of it any more. A document
// all of whose lines are rejected is over.
const rejection = "SalesDocumentRjcnReason"

type (
	// shape is where the columns of a row belong: to the document, to each of its lines,
	// or they are the lines.
	shape struct {
		at    target
		lines target   // its entity is nil where the documents have none
		name  string   // of the column that holds the lines
		head  []string // columns of the document
		each  []string // columns that a row has once, and every line has
		whole bool     // the lines are a column
	}

	// document is a row with its lines, in the order of their numbers.
	document struct {
		item  map[string]any
		lines []connector.Row
	}
)

// shape sorts the columns of a table.
func (s *SAP) shape(ctx context.Context, table string, columns []string) (*shape, error) {
	at, err := s.target(ctx, table)
	if err != nil {
		return nil, err
	}
	sh := &shape{at: at}
	for _, name := range linesOf {
		if e := at.entity.navigations[name]; e != nil {
			sh.name, sh.lines = name, target{table: connector.Table{Name: at.table.Name + "." + name}, root: at.root, set: at.model.setOf(e), v4: at.v4, entity: e, model: at.model}
		}
	}
	for _, c := range columns {
		switch {
		case at.has(c):
			sh.head = append(sh.head, c)
		case sh.name != "" && c == sh.name:
			sh.whole = true
		case sh.lines.has(c):
			sh.each = append(sh.each, c)
		default:
			if sh.at, err = s.target(ctx, table, c); err != nil { // asks the service once more
				return nil, err
			}
			sh.head = append(sh.head, c)
		}
	}
	return sh, nil
}

func (t target) has(column string) bool {
	if t.entity == nil {
		return false
	}
	_, is := t.entity.properties[column]
	return is
}

// reaches reports whether a column is one of the lines below.
func (t target) reaches(column string) bool {
	return !t.has(column) && slices.ContainsFunc(linesOf, func(name string) bool {
		e := t.entity.navigations[name]
		return e != nil && (column == name || target{entity: e}.has(column))
	})
}

// setOf is the name of the entity set of an entity.
func (m *model) setOf(e *entity) string {
	var names []string
	for name, of := range m.sets {
		if of.name == e.name { // names of one namespace, and perhaps of its alias
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names[:min(1, len(names))], "")
}

// bearing finds the documents that have the key of a row. Of their lines it asks for
// columns, or for all of them.
func (s *SAP) bearing(ctx context.Context, sh *shape, key []string, row connector.Row, columns []string) ([]document, error) {
	where := make([]connector.Match, len(key))
	for i, column := range key {
		text, _ := row[column].(string)
		switch p := sh.at.entity.properties[column]; {
		case text == "" || text != strings.TrimSpace(text):
			return nil, fault.New(fault.Rejected, System+".key_missing", "a row has no text in key column "+column+", or one that begins or ends with a blank, which SAP drops", nil)
		case p.length > 0 && utf8.RuneCountInString(text) > p.length:
			return nil, fault.New(fault.Rejected, System+".key_long", "a row has more characters in key column "+column+" than SAP keeps, so that it would not be found again", nil)
		}
		where[i] = connector.Match{Column: column, Value: row[column]}
	}
	condition, err := sh.at.filter(where)
	if err != nil {
		return nil, err
	}
	r := &read{s: s, at: sh.at, columns: sh.at.entity.keys, children: map[string]children{}}
	for _, c := range slices.Concat(sh.head, key) {
		if !slices.Contains(r.columns, c) {
			r.columns = append(slices.Clone(r.columns), c)
		}
	}
	if sh.name != "" {
		c := children{navigation: sh.name, target: sh.lines}
		if !sh.whole || len(columns) > 0 {
			c.columns = slices.Clone(sh.lines.entity.keys)
			for _, column := range slices.Concat(sh.each, columns, []string{rejection}) {
				if sh.lines.has(column) && !slices.Contains(c.columns, column) {
					c.columns = append(c.columns, column)
				}
			}
		}
		r.children[sh.name] = c
	}
	selects, expand := r.selection()
	items, err := s.every(ctx, sh.at, s.query("$select="+selects, expand, "$filter="+connector.EscapeQuery(condition)))
	if err != nil {
		return nil, err
	}
	documents := make([]document, len(items))
	for i, item := range items {
		documents[i].item = item
		if c, has := r.children[sh.name]; has {
			if documents[i].lines, err = s.linesIn(ctx, c, item); err != nil {
				return nil, err
			}
		}
	}
	return documents, nil
}

// linesIn are the lines of a document in the order of their numbers.
func (s *SAP) linesIn(ctx context.Context, c children, item map[string]any) ([]connector.Row, error) {
	got, err := s.expanded(ctx, c, item)
	if err != nil {
		return nil, err
	}
	list, _ := got.([]any)
	lines := make([]connector.Row, 0, len(list))
	for _, x := range list {
		if line, is := x.(connector.Row); is {
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, func(a, b connector.Row) int {
		for _, k := range c.target.entity.keys {
			x, _ := scalar(a[k])
			y, _ := scalar(b[k])
			if n := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); n != 0 {
				return n
			}
		}
		return 0
	})
	return lines, nil
}

// every reads all items of an entity set that a query gives.
func (s *SAP) every(ctx context.Context, at target, query string) ([]map[string]any, error) {
	var items []map[string]any
	target := at.root + "/" + at.set + query
	for token := ""; target != ""; {
		got, err := s.list(ctx, at.v4, target)
		if err != nil {
			return nil, err
		}
		items = append(items, got.rows...)
		if target = ""; got.next != "" {
			query, err := s.linkQuery(got.next)
			if err != nil {
				return nil, err
			}
			target = at.root + "/" + at.set + "?" + query
			if token, err = s.transport.Advance(token, query); err != nil {
				return nil, err
			}
		}
	}
	return items, nil
}

// over reports whether all lines of a document are rejected.
func (d document) over() bool {
	return len(d.lines) > 0 && !slices.ContainsFunc(d.lines, func(line connector.Row) bool {
		reason, _ := line[rejection].(string)
		return reason == ""
	})
}

// counts gives the one document that counts of those with a key: the one that is not
// over. Without such a one, closed says whether any is over.
func (s *SAP) counts(documents []document) (open *document, closed bool, err error) {
	for i, d := range documents {
		switch {
		case d.over():
			closed = true
		case open != nil:
			return nil, false, fault.New(fault.Conflict, System+".ambiguous", s.config.Name+" has several documents with this reference that are not rejected; a person has to say which one counts", nil)
		default:
			open = &documents[i]
		}
	}
	return open, closed, nil
}

// documents reads documents by a key, with columns of their lines. One that is over is
// none to who asks by reference, unless it is asked for its rejection: what a writer
// made anew is not taken for what was rejected before.
func (s *SAP) documents(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	sh, err := s.shape(ctx, table, columns)
	if err != nil {
		return nil, err
	}
	found := make([]connector.Row, len(keys))
	for i, k := range keys {
		list, err := s.bearing(ctx, sh, key, k, nil)
		if err != nil {
			return nil, err
		}
		d, _, err := s.counts(list)
		switch {
		case err != nil:
			return nil, err
		case d == nil && len(list) > 0 && (!s.byReference(table, key) || slices.Contains(sh.each, rejection)):
			d = &list[len(list)-1]
		case d == nil:
			continue
		}
		found[i] = sh.row(*d)
	}
	return found, nil
}

// row is a document as a row: a column of the lines has the value that all of them have.
func (sh *shape) row(d document) connector.Row {
	row := sh.at.pick(d.item, sh.head)
	if sh.whole {
		list := make([]any, len(d.lines))
		for i, line := range d.lines {
			list[i] = line
		}
		row[sh.name] = list
	}
	for _, c := range sh.each {
		for i, line := range d.lines {
			if row[c] = line[c]; i > 0 && !sh.lines.equal(c, line[c], d.lines[0][c]) {
				row[c] = nil
				break
			}
		}
	}
	return row
}

// equal compares two values of a column as SAP keeps them: what is initial is empty, and
// zeros at the end of a number say nothing.
func (t target) equal(column string, a, b any) bool {
	p := t.entity.properties[column]
	x, okX := t.encode(p, a)
	y, okY := t.encode(p, b)
	if !okX || !okY {
		return false
	}
	return plain(p, x) == plain(p, y)
}

func plain(p property, v any) string {
	text, _ := scalar(v)
	if p.kind() == "decimal" {
		text = connector.PlainNumber(text)
	}
	return text
}

// given are the lines that a row has.
func (sh *shape) given(row connector.Row) ([]connector.Row, error) {
	value, there := row[sh.name]
	if !sh.whole || !there {
		return nil, nil
	}
	list, is := value.([]any)
	lines := make([]connector.Row, len(list))
	for i, x := range list {
		var ok bool
		lines[i], ok = x.(map[string]any)
		is = is && ok
	}
	if !is || len(list) == 0 {
		return nil, fault.New(fault.Rejected, System+".lines", "column "+sh.name+" of "+sh.at.table.Name+" is a list of lines, and has at least one", nil)
	}
	return lines, nil
}

// creation is the change that makes a document with its lines.
func (sh *shape) creation(i int, row connector.Row) (change, error) {
	values, err := sh.at.values(only(row, sh.head))
	if err != nil {
		return change{}, err
	}
	lines, err := sh.given(row)
	if err != nil {
		return change{}, err
	}
	list := make([]map[string]any, len(lines))
	for n, line := range lines {
		both := only(row, sh.each)
		for column, v := range line {
			both[column] = v
		}
		if list[n], err = sh.lines.values(both); err != nil {
			return change{}, err
		}
	}
	if len(list) > 0 {
		values[sh.name] = list
	}
	body, err := json.Marshal(values)
	return change{row: i, method: http.MethodPost, address: sh.at.set, body: body}, err
}

// differences are the changes after which a document is what a row says.
func (sh *shape) differences(i int, key []string, row connector.Row, d document) ([]change, error) {
	lines, err := sh.given(row)
	if err != nil {
		return nil, err
	}
	if sh.whole && len(lines) > 0 && len(lines) != len(d.lines) {
		return nil, fault.New(fault.Rejected, System+".lines", "the document is there with another number of lines, and lines are neither added nor taken away", nil)
	}
	var out []change
	have := sh.at.pick(d.item, sh.head)
	other := connector.Row{}
	for _, c := range sh.head {
		if !slices.Contains(key, c) && !slices.Contains(sh.at.entity.keys, c) && !sh.at.equal(c, have[c], row[c]) {
			other[c] = row[c]
		}
	}
	version := sh.at.version(d.item)
	if len(other) > 0 {
		c := change{row: i, method: http.MethodPatch, version: version}
		if c.address, err = sh.at.address(sh.at.pick(d.item, sh.at.entity.keys)); err != nil {
			return nil, err
		}
		if c.body, err = sh.at.body(other, nil); err != nil {
			return nil, err
		}
		if out = append(out, c); version != "" {
			version = "*" // of what comes after it
		}
	}
	for n, line := range d.lines {
		want := only(row, sh.each)
		if len(lines) > 0 {
			for column, v := range lines[n] {
				want[column] = v
			}
		}
		for column, v := range want {
			if sh.lines.has(column) && (slices.Contains(sh.lines.entity.keys, column) || sh.lines.equal(column, line[column], v)) {
				delete(want, column)
			}
		}
		if len(want) == 0 {
			continue
		}
		c := change{row: i, method: http.MethodPatch}
		if sh.at.v4 { // whose lines have the version of their document
			c.version = version
		}
		if c.address, err = sh.lines.address(line); err != nil {
			return nil, err
		}
		if c.body, err = sh.lines.body(want, nil); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// only is a row with some of its columns.
func only(row connector.Row, columns []string) connector.Row {
	out := connector.Row{}
	for _, c := range columns {
		if v, there := row[c]; there {
			out[c] = v
		}
	}
	return out
}
