package dataverse

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// list is the answer of an entity set.
type list struct {
	rows []map[string]any
	next string // "" after the last page
}

const nextLink = "@odata.nextLink"

// ReadPage reads one page. The token holds the system's nextLink.
func (v *Dataverse) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, err := v.config.Table(q.Table)
	if err != nil {
		return connector.Page{}, err
	}
	target, err := v.targetOf(q, token)
	if err != nil {
		return connector.Page{}, err
	}
	size := q.Limit
	if size <= 0 {
		size = defaultPage
	}
	got, err := v.list(ctx, target, pages(t, q.Select, min(size, maxPage)))
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: make([]connector.Row, len(got.rows))}
	for i, item := range got.rows {
		if page.Rows[i], err = v.row(ctx, t, q, item); err != nil {
			return connector.Page{}, err
		}
	}
	page.Next, err = v.transport.Advance(token, got.next)
	return page, err
}

// targetOf is where a page is read: the first, or the one that a token continues with.
func (v *Dataverse) targetOf(q connector.Query, token string) (string, error) {
	t, err := v.config.Table(q.Table)
	switch {
	case err != nil:
		return "", err
	case token != "":
		return connector.Continuation(token)
	}
	return v.target(t, q)
}

func (v *Dataverse) target(t connector.Table, q connector.Query) (string, error) {
	if len(q.Select) == 0 {
		return "", fault.Invalidf("connector.select", "a read of %s selects no column", q.Table)
	}
	if err := t.Check(q.Select...); err != nil {
		return "", err
	}
	target := v.root + t.Path + "?$select=" + selection(t, q.Select)
	f, err := condition(t, q)
	if err != nil {
		return "", err
	}
	if f != "" {
		target += "&$filter=" + connector.EscapeQuery(f)
	}
	if len(q.Expand) > 0 {
		wires := make([]string, 0, len(q.Expand))
		for _, name := range slices.Sorted(maps.Keys(q.Expand)) {
			wire, err := expansion(t, q.Expand[name])
			if err != nil {
				return "", err
			}
			wires = append(wires, wire)
		}
		target += "&$expand=" + connector.EscapeQuery(strings.Join(wires, ","))
	}
	return target, nil
}

// expansion is the wire form of an expand path. Without a $select of its own it
// would bring every column there is.
func expansion(t connector.Table, asked string) (string, error) {
	wire := t.Expand[asked]
	if wire == "" {
		wire = asked
	}
	if !strings.Contains(wire, "($select=") {
		return "", fault.Invalidf("connector.expand", "table %s: expand %q needs a form with columns, such as %s($select=name), under expand of the table",
			t.Name, asked, asked)
	}
	return wire, nil
}

func (v *Dataverse) list(ctx context.Context, target, prefer string) (list, error) {
	h := reading()
	h["Prefer"] = []string{prefer}
	var got map[string]any
	if _, err := v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h, Collection: true}, &got); err != nil {
		return list{}, err
	}
	return v.listed(got["value"], got[nextLink])
}

// listed reads a list of rows and the link to more of them. Whatever is not as
// documented is an error: what is missing would not be missed.
func (v *Dataverse) listed(value, link any) (list, error) {
	items, ok := value.([]any)
	if !ok {
		return list{}, v.transport.Malformed("there is no list of rows")
	}
	got := list{rows: make([]map[string]any, len(items))}
	for i, item := range items {
		if got.rows[i], ok = item.(map[string]any); !ok {
			return list{}, v.transport.Malformed("a row is no object")
		}
	}
	if got.next, ok = link.(string); !ok && link != nil {
		return list{}, v.transport.Malformed("the link to the next page is no text")
	}
	return got, nil
}

// row keeps the selected columns of an item and the children asked for.
func (v *Dataverse) row(ctx context.Context, t connector.Table, q connector.Query, item map[string]any) (connector.Row, error) {
	row := pick(t, item, q.Select)
	for name, asked := range q.Expand {
		wire, err := expansion(t, asked)
		if err != nil {
			return nil, err
		}
		property, _, _ := strings.Cut(wire, "(")
		if row[name], err = v.children(ctx, item, property); err != nil {
			return nil, err
		}
	}
	return row, nil
}

// children returns an expanded property without annotations: a list, complete
// also where the system cut it off, or one row, or nil.
func (v *Dataverse) children(ctx context.Context, item map[string]any, property string) (any, error) {
	switch found := item[property].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return plain(found), nil
	case []any:
		got, err := v.listed(found, item[property+nextLink])
		rows := make([]any, 0, len(found))
		for token := ""; err == nil; {
			for _, m := range got.rows {
				rows = append(rows, plain(m))
			}
			if token, err = v.transport.Advance(token, got.next); err != nil || token == "" {
				return rows, err
			}
			got, err = v.list(ctx, got.next, paged(maxPage))
		}
		return nil, err
	}
	return nil, v.transport.Malformed("an expanded property is neither a list nor a row")
}

// pick keeps the columns asked for. Decimals lose the zeros at their end, which
// say nothing and differ between the ways by which a row comes. A lookup that leads to
// another table than the connection says is not there: its ID names no record of that
// table, and is not null either.
func pick(t connector.Table, item map[string]any, columns []string) connector.Row {
	row := make(connector.Row, len(columns))
	for _, c := range columns {
		name := wire(t, c)
		if to, ok := item[name+leadsTo].(string); ok && name != c && to != t.Refers[c] {
			continue
		}
		if value, ok := item[name]; ok {
			if n, isNumber := value.(json.Number); isNumber {
				value = number(n)
			}
			row[c] = value
		}
	}
	return row
}

// plain drops annotations.
func plain(item map[string]any) map[string]any {
	for name := range item {
		if strings.Contains(name, "@") {
			delete(item, name)
		}
	}
	return item
}
