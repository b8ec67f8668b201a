package sap

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

type (
	// read is one query, made ready to be asked page by page.
	read struct {
		s        *SAP
		at       target
		query    connector.Query
		columns  []string // asked for: the selected, and the key behind them
		children map[string]children
		size     int
		bySkip   bool
	}

	// children are what one expanded navigation property is asked for.
	children struct {
		navigation string
		columns    []string // nil: all
		target     target
	}

	// list is an answer of an entity set.
	list struct {
		rows []map[string]any
		next string // as the server wrote it; "" where it gives no link
	}
)

// ReadPage reads one page. The token is a position.
func (s *SAP) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	r, p, err := s.newRead(ctx, q, token)
	if err != nil {
		return connector.Page{}, err
	}
	target, err := r.target(p)
	if err != nil {
		return connector.Page{}, err
	}
	got, err := s.list(ctx, r.at.v4, target)
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: make([]connector.Row, len(got.rows))}
	for i, item := range got.rows {
		if page.Rows[i], err = r.row(ctx, item); err != nil {
			return connector.Page{}, err
		}
	}
	var last []any
	if n := len(got.rows); n > 0 {
		for _, k := range r.at.entity.keys {
			last = append(last, value(r.at.form(k), got.rows[n-1][k]))
		}
	}
	page.Next, err = r.next(token, p, len(got.rows), got.next, last)
	return page, err
}

// newRead checks a query and finds out where its token stands.
func (s *SAP) newRead(ctx context.Context, q connector.Query, token string) (*read, position, error) {
	var p position
	if token != "" {
		var err error
		if p, err = at(token); err != nil {
			return nil, p, err
		}
	}
	t, err := s.config.Table(q.Table)
	if err != nil {
		return nil, p, err
	}
	if len(q.Select) == 0 {
		return nil, p, fault.Invalidf("connector.select", "a read of %s selects no column", q.Table)
	}
	if err := t.Check(q.Select...); err != nil {
		return nil, p, err
	}
	for _, m := range q.Where { // before anything is sent
		if err := t.Check(m.Column); err != nil {
			return nil, p, err
		}
		if _, ok := scalar(m.Value); !ok && m.Value != nil {
			return nil, p, fault.Invalidf("connector.value", "column %s of %s cannot be compared with a list or an object", m.Column, t.Name)
		}
	}
	at, err := s.target(ctx, q.Table, q.Select...)
	if err != nil {
		return nil, p, err
	}
	r := &read{s: s, at: at, query: q, columns: slices.Clone(q.Select), children: map[string]children{}, size: q.Limit, bySkip: s.bySkip || !at.ordered()}
	for _, k := range at.entity.keys {
		if !slices.Contains(r.columns, k) {
			r.columns = append(r.columns, k)
		}
	}
	if r.size <= 0 {
		r.size = s.page
	}
	r.size = min(r.size, maxPage)
	for name, asked := range q.Expand {
		if r.children[name], err = r.expansion(asked); err != nil {
			return nil, p, err
		}
	}
	return r, p, nil
}

// expansion reads the form of an expand path: Navigation($select=A,B), under expand
// of the table. Without columns it would bring every one there is.
func (r *read) expansion(asked string) (children, error) {
	wire := r.at.table.Expand[asked]
	if wire == "" {
		wire = asked
	}
	name, rest, _ := strings.Cut(strings.ReplaceAll(wire, " ", ""), "(")
	list, ok := strings.CutPrefix(strings.TrimSuffix(rest, ")"), "$select=")
	c := children{navigation: name, columns: strings.Split(list, ",")}
	if !ok || !strings.HasSuffix(rest, ")") || (connector.Table{Name: name}).Check(append(c.columns, name)...) != nil {
		return c, fault.Invalidf("connector.expand", "table %s: expand %q needs a form with columns, such as %s($select=NAME), under expand of the table", r.at.table.Name, asked, asked)
	}
	to := r.at.entity.navigations[name]
	if to == nil {
		return c, fault.Invalidf("connector.expand", "the service has no navigation %q in table %s", name, r.at.table.Name)
	}
	c.target = target{table: connector.Table{Name: name}, root: r.at.root, v4: r.at.v4, entity: to, model: r.at.model}
	return c, nil
}

// target is the address of the page at a position.
func (r *read) target(p position) (string, error) {
	base := r.at.root + "/" + r.at.set
	if p.link != "" {
		return base + "?" + p.link, nil
	}
	var terms []string
	if len(r.query.Where) > 0 {
		f, err := r.at.filter(r.query.Where)
		if err != nil {
			return "", err
		}
		terms = append(terms, f)
	}
	if r.query.Since != nil {
		f, err := r.at.since(*r.query.Since)
		if err != nil {
			return "", err
		}
		terms = append(terms, f)
	}
	skip := ""
	switch {
	case r.bySkip && p.skip > 0:
		skip = "$skip=" + strconv.Itoa(p.skip)
	case p.key != nil:
		if len(p.key) != len(r.at.entity.keys) || r.bySkip {
			return "", connector.BadToken()
		}
		f, err := r.at.after(p.key)
		if err != nil {
			return "", err
		}
		terms = append(terms, f)
	}
	filter, order := "", ""
	if len(terms) > 0 {
		filter = "$filter=" + connector.EscapeQuery(strings.Join(terms, " and "))
	}
	if keys := r.at.entity.keys; len(keys) > 0 {
		order = "$orderby=" + strings.Join(keys, ",")
	}
	selects, expand := r.selection()
	return base + r.s.query("$select="+selects, expand, filter, order, "$top="+strconv.Itoa(r.size), skip), nil
}

// selection is $select, and $expand where there are children.
func (r *read) selection() (selects, expand string) {
	columns := slices.Clone(r.columns)
	var navigations []string
	for _, name := range slices.Sorted(maps.Keys(r.children)) {
		c := r.children[name]
		if c.columns == nil {
			if navigations = append(navigations, c.navigation); !r.at.v4 {
				columns = append(columns, c.navigation)
			}
			continue
		}
		if r.at.v4 {
			navigations = append(navigations, c.navigation+"($select="+strings.Join(c.columns, ",")+")")
			continue
		}
		navigations = append(navigations, c.navigation)
		for _, column := range c.columns {
			columns = append(columns, c.navigation+"/"+column)
		}
	}
	if len(navigations) > 0 {
		expand = "$expand=" + strings.Join(navigations, ",")
	}
	return strings.Join(columns, ","), expand
}

// next is the token behind a page of n rows; last is the key of its last row.
func (r *read) next(token string, p position, n int, link string, last []any) (string, error) {
	var to position
	total := p.seen + n
	if n == 0 {
		last = p.key // an empty page at the end of a chain of links
	}
	switch {
	case link != "":
		query, err := r.s.linkQuery(link)
		if err != nil {
			return "", err
		}
		to.link, to.seen, to.skip, to.key = query, total, p.skip, last
	case total < r.size:
		return "", nil
	case r.bySkip:
		to.skip = p.skip + total
	default:
		if slices.Contains(last, nil) || len(last) == 0 {
			return "", r.s.transport.Malformed("a row has no key")
		}
		to.key = last
		if to.String() == p.String() {
			return "", r.s.transport.PageLoop()
		}
	}
	return r.s.advance(token, to)
}

// list asks for an entity set, or for what is below an entity.
func (s *SAP) list(ctx context.Context, v4 bool, target string) (list, error) {
	var got map[string]any
	if _, err := s.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: http.Header{"Accept": jsonType(v4)}, Collection: true}, &got); err != nil {
		return list{}, err
	}
	if v4 {
		return s.listed(got["value"], got["@odata.nextLink"])
	}
	return s.older(got["d"])
}

// older reads a list of V2 in any of its forms: results with a link, or bare.
func (s *SAP) older(d any) (list, error) {
	if of, ok := d.(map[string]any); ok {
		return s.listed(of["results"], of["__next"])
	}
	return s.listed(d, nil)
}

// listed reads a list of rows and the link to more of them. Whatever is not as
// documented is an error: what is missing would not be missed.
func (s *SAP) listed(value, link any) (list, error) {
	items, ok := value.([]any)
	if !ok {
		return list{}, s.transport.Malformed("there is no list of rows")
	}
	got := list{rows: make([]map[string]any, len(items))}
	for i, item := range items {
		if got.rows[i], ok = item.(map[string]any); !ok {
			return list{}, s.transport.Malformed("a row is no object")
		}
	}
	if got.next, ok = link.(string); !ok && link != nil {
		return list{}, s.transport.Malformed("the link to the next page is no text")
	}
	return got, nil
}

// row keeps the selected columns of an item and the children asked for.
func (r *read) row(ctx context.Context, item map[string]any) (connector.Row, error) {
	row := r.at.pick(item, r.query.Select)
	for name, c := range r.children {
		found, err := r.s.expanded(ctx, c, item)
		if err != nil {
			return nil, err
		}
		row[name] = found
	}
	return row, nil
}

// pick keeps columns of an item, in the form that rows have.
func (t target) pick(item map[string]any, columns []string) connector.Row {
	row := make(connector.Row, len(columns))
	for _, c := range columns {
		if v, ok := item[c]; ok {
			row[c] = value(t.form(c), v)
		}
	}
	return row
}

// value is what a row holds for a value of an answer.
func value(form sheet.Form, v any) any {
	text, ok := v.(string)
	if !ok || form == sheet.AsIs {
		return v
	}
	if form == sheet.Number {
		if sheet.IsNumber(text) {
			return json.Number(text)
		}
		return v
	}
	if out, ok := form.Append(nil, []byte(text)); ok {
		return string(out)
	}
	return v
}

// expanded is what one expanded navigation property holds: a list, complete also where
// the server cut it off, one row, or nil.
func (s *SAP) expanded(ctx context.Context, c children, item map[string]any) (any, error) {
	if c.columns == nil {
		c.columns = c.target.entity.order
	}
	found, there := item[c.navigation]
	if !there {
		return nil, s.transport.Malformed("a child that was asked for is missing")
	}
	var got list
	var err error
	switch found := found.(type) {
	case nil:
		return nil, nil
	case []any:
		got, err = s.listed(found, item[c.navigation+"@odata.nextLink"])
	case map[string]any:
		if found["__deferred"] != nil {
			return nil, s.transport.Malformed("a child that was asked for is only linked to")
		}
		if found["results"] == nil {
			return c.target.pick(found, c.columns), nil
		}
		got, err = s.older(found)
	default:
		return nil, s.transport.Malformed("an expanded property is neither a list nor a row")
	}
	rows := []any{}
	for token := ""; err == nil; {
		for _, child := range got.rows {
			rows = append(rows, c.target.pick(child, c.columns))
		}
		if got.next == "" {
			return rows, nil
		}
		target, bad := s.below(c.target.root, got.next)
		if bad != nil {
			return nil, bad
		}
		if token, err = s.transport.Advance(token, target); err == nil {
			got, err = s.list(ctx, c.target.v4, target)
		}
	}
	return nil, err
}
