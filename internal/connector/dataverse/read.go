package dataverse

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// list is the answer of an entity set.
type list struct {
	Value []map[string]any `json:"value"`
	Next  string           `json:"@odata.nextLink"`
}

// ReadPage reads one page. The token holds the system's nextLink.
func (v *Dataverse) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, err := v.config.Table(q.Table)
	if err != nil {
		return connector.Page{}, err
	}
	var target string
	if token != "" {
		target, err = connector.Continuation(token)
	} else {
		target, err = v.target(t, q)
	}
	if err != nil {
		return connector.Page{}, err
	}
	size := q.Limit
	if size <= 0 {
		size = defaultPage
	}
	got, err := v.list(ctx, target, min(size, maxPage))
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: make([]connector.Row, len(got.Value))}
	for i, item := range got.Value {
		if page.Rows[i], err = v.row(ctx, t, q, item); err != nil {
			return connector.Page{}, err
		}
	}
	page.Next, err = v.transport.Advance(token, got.Next)
	return page, err
}

func (v *Dataverse) target(t connector.Table, q connector.Query) (string, error) {
	if len(q.Select) == 0 {
		return "", fault.Invalidf("connector.select", "a read of %s selects no column", q.Table)
	}
	if err := t.Check(q.Select...); err != nil {
		return "", err
	}
	target := v.root + t.Path + "?$select=" + strings.Join(q.Select, ",")
	if len(q.Where) > 0 {
		f, err := filter(t, q.Where)
		if err != nil {
			return "", err
		}
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

func (v *Dataverse) list(ctx context.Context, target string, size int) (list, error) {
	h := reading()
	h["Prefer"] = []string{"odata.maxpagesize=" + strconv.Itoa(size)}
	var got list
	_, err := v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h, Collection: true}, &got)
	if err == nil && got.Value == nil {
		err = v.transport.Malformed("there is no list of rows")
	}
	return got, err
}

// row keeps the selected columns of an item and the children asked for.
func (v *Dataverse) row(ctx context.Context, t connector.Table, q connector.Query, item map[string]any) (connector.Row, error) {
	row := pick(item, q.Select)
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
		rows := make([]any, 0, len(found))
		for _, child := range found {
			if m, ok := child.(map[string]any); ok {
				rows = append(rows, plain(m))
			}
		}
		next, _ := item[property+"@odata.nextLink"].(string)
		for token := ""; next != ""; {
			got, err := v.list(ctx, next, maxPage)
			if err != nil {
				return nil, err
			}
			for _, m := range got.Value {
				rows = append(rows, plain(m))
			}
			if token, err = v.transport.Advance(token, next); err != nil {
				return nil, err
			}
			next = got.Next
		}
		return rows, nil
	}
	return nil, v.transport.Malformed("an expanded property is neither a list nor a row")
}

// pick keeps the columns asked for.
func pick(item map[string]any, columns []string) connector.Row {
	row := make(connector.Row, len(columns))
	for _, c := range columns {
		if value, ok := item[c]; ok {
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
