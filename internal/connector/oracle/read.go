package oracle

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// collection is a page of a resource.
	collection struct {
		items   []map[string]any
		hasMore bool
	}

	// read is one query, made ready to be asked page by page.
	read struct {
		o       *Oracle
		table   connector.Table
		query   connector.Query
		expands map[string]path     // name in the row → the children
		either  [][]connector.Match // one of them must hold, in the place of the query's own
		limit   int
	}
)

// ReadPage reads one page. The token is the offset of the page.
//
// Without children, fields asks for the selected columns alone. Beside expand
// Oracle ignores fields, so the selection is then enforced here. Oracle cuts an
// expanded child off after 25 rows and says hasMore: the rest is read from the
// child's own address.
func (o *Oracle) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	r, err := o.newRead(q)
	if err != nil {
		return connector.Page{}, err
	}
	offset, err := offsetOf(token)
	if err != nil {
		return connector.Page{}, err
	}
	got, err := r.fetch(ctx, offset, "onlyData=true")
	if err != nil {
		return connector.Page{}, err
	}
	if r.cutOff(got.items) {
		// The links to the rest come only on request, and cost more than the rows.
		if got, err = r.fetch(ctx, offset, "links=self"); err != nil {
			return connector.Page{}, err
		}
		for _, item := range got.items {
			for _, p := range r.expands {
				if err := o.complete(ctx, item, p.branches); err != nil {
					return connector.Page{}, err
				}
			}
		}
	}
	page := connector.Page{Rows: make([]connector.Row, len(got.items))}
	for i, item := range got.items {
		if page.Rows[i], err = r.row(item); err != nil {
			return connector.Page{}, err
		}
	}
	if got.hasMore {
		page.Next = strconv.Itoa(offset + len(got.items))
	}
	return page, nil
}

func (o *Oracle) newRead(q connector.Query) (*read, error) {
	table, err := o.config.Table(q.Table)
	if err != nil {
		return nil, err
	}
	if err := table.Check(q.Select...); err != nil {
		return nil, err
	}
	if len(q.Select) == 0 && len(q.Expand) == 0 {
		return nil, fault.Invalidf("connector.select", "a read of %s selects no column", q.Table)
	}
	r := &read{o: o, table: table, query: q, limit: q.Limit, expands: make(map[string]path, len(q.Expand))}
	if r.limit <= 0 {
		r.limit = defaultLimit
	}
	r.limit = min(r.limit, maxLimit)
	for name, asked := range q.Expand {
		wire := table.Expand[asked]
		if wire == "" {
			wire = asked
		}
		if r.expands[name], err = parsePath(wire); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// fetch asks for the page at offset. A page that is not the one asked for, or
// that contradicts itself, is an error: what is missing would not be missed.
func (r *read) fetch(ctx context.Context, offset int, shape string) (collection, error) {
	target, err := r.target(offset, shape)
	if err != nil {
		return collection{}, err
	}
	return r.o.collection(ctx, target, offset)
}

func (o *Oracle) collection(ctx context.Context, target string, offset int) (collection, error) {
	var got map[string]any
	if _, err := o.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Collection: true}, &got); err != nil {
		return collection{}, err
	}
	if _, ok := got["hasMore"].(bool); !ok {
		return collection{}, o.transport.Malformed("it does not say whether there is more")
	}
	items, hasMore, err := members(got)
	switch at := got["offset"]; {
	case err != nil:
		return collection{}, o.transport.Malformed(err.Error())
	case hasMore && len(items) == 0, at != nil && at != json.Number(strconv.Itoa(offset)):
		return collection{}, o.transport.PageLoop()
	}
	return collection{items, hasMore}, nil
}

func (r *read) target(offset int, shape string) (string, error) {
	var b strings.Builder
	b.WriteString(r.o.root)
	b.WriteString(r.table.Path)
	b.WriteByte('?')
	if len(r.query.Where) > 0 || r.query.Since != nil || len(r.either) > 0 {
		q, err := r.condition()
		if err != nil {
			return "", err
		}
		b.WriteString("q=")
		b.WriteString(connector.EscapeQuery(q))
		b.WriteByte('&')
	}
	if len(r.expands) > 0 {
		wires := make([]string, 0, len(r.expands))
		for _, name := range slices.Sorted(maps.Keys(r.expands)) {
			wires = append(wires, r.expands[name].wire)
		}
		b.WriteString("expand=")
		b.WriteString(strings.Join(wires, ","))
	} else {
		b.WriteString("fields=")
		b.WriteString(strings.Join(r.query.Select, ","))
	}
	b.WriteByte('&')
	b.WriteString(shape)
	b.WriteString("&limit=")
	b.WriteString(strconv.Itoa(r.limit))
	b.WriteString("&offset=")
	b.WriteString(strconv.Itoa(offset))
	if order := r.order(); order != "" {
		b.WriteString("&orderBy=")
		b.WriteString(order)
	}
	return b.String(), nil
}

// condition is what rows have to satisfy.
func (r *read) condition() (string, error) {
	if len(r.either) == 0 {
		return rowmatch(r.table, r.query.Where, r.query.Since)
	}
	terms := make([]string, len(r.either))
	for i, where := range r.either {
		one, err := rowmatch(r.table, where, nil)
		if err != nil {
			return "", err
		}
		terms[i] = "(" + one + ")"
	}
	return strings.Join(terms, " or "), nil
}

// order is unique, so that pages by offset neither repeat nor skip rows while
// nothing changes. A read of one key has no second page and needs none.
func (r *read) order() string {
	if option := r.o.config.Options["order_by"]; option != "" {
		return connector.EscapeQuery(option)
	}
	if len(r.table.Keys) == 0 {
		return ""
	}
	for _, key := range r.table.Keys {
		if covers(r.query.Where, key) {
			return ""
		}
	}
	return strings.Join(r.table.Keys[0], ":asc,") + ":asc"
}

func covers(where []connector.Match, key []string) bool {
	for _, column := range key {
		if !slices.ContainsFunc(where, func(m connector.Match) bool { return m.Column == column }) {
			return false
		}
	}
	return len(key) > 0
}

// rowmatch writes the where clause in the q syntax of framework version 2 and
// later. A watermark is compared as a text in the form that rows have.
func rowmatch(table connector.Table, where []connector.Match, since *connector.Since) (string, error) {
	terms := make([]string, len(where), len(where)+1)
	for i, m := range where {
		if err := table.Check(m.Column); err != nil {
			return "", err
		}
		if m.Value == nil {
			terms[i] = m.Column + " is null"
			continue
		}
		value, ok := connector.Literal(m.Value)
		if !ok {
			return "", fault.Invalidf("connector.value", "column %s of %s cannot be compared with a list or an object", m.Column, table.Name)
		}
		terms[i] = m.Column + "=" + value
	}
	if since != nil {
		if err := table.Check(since.Column); err != nil {
			return "", err
		}
		value, ok := connector.Literal(since.Value)
		if !ok || since.Value == nil {
			return "", fault.Invalidf("connector.value", "table %s: a watermark of %s is one value", table.Name, since.Column)
		}
		terms = append(terms, since.Column+">="+value)
	}
	return strings.Join(terms, " and "), nil
}

// row keeps the selected columns of an item and the children asked for.
func (r *read) row(item map[string]any) (connector.Row, error) {
	row := make(connector.Row, len(r.query.Select)+len(r.expands))
	for _, column := range r.query.Select {
		row[column] = item[column]
	}
	for name, p := range r.expands {
		children, err := p.rows(item)
		if err != nil {
			return nil, r.o.transport.Malformed(err.Error())
		}
		row[name] = children
	}
	return row, nil
}
