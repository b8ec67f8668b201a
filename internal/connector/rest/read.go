package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// read is one query, made ready to be asked page by page.
type read struct {
	r      *REST
	table  connector.Table
	query  connector.Query
	paging string
	limit  int
	target string // of the first page
	where  connector.Row
	body   []byte // nil: what is asked stands in the address
}

// ReadPage reads one page. The token holds the system's own continuation, or the
// number of the page with a digest of the one before: who gives the same page for
// each number would be read for ever.
func (r *REST) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	x, err := r.read(q)
	if err != nil {
		return connector.Page{}, err
	}
	var target, before string
	position := 0
	if token != "" {
		next, err := connector.Continuation(token)
		if err != nil {
			return connector.Page{}, err
		}
		if target, position, before, err = x.behind(next); err != nil {
			return connector.Page{}, err
		}
	} else {
		target = x.numbered(x.first())
	}
	header, err := x.header()
	if err != nil {
		return connector.Page{}, err
	}
	var got map[string]any
	single := x.single()
	_, err = r.transport.Do(ctx, connector.Request{Method: r.option(q.Table, "read", http.MethodGet), Target: target, Header: header, Body: x.body, Collection: !single}, &got)
	if single && fault.Is(err, fault.NotFound) && q.Reference == "" { // who pays wants to know that it was refused
		return connector.Page{}, nil
	}
	if err != nil {
		return connector.Page{}, err
	}
	if single {
		return x.row(got)
	}
	return x.page(got, token, position, before)
}

// header is that of the connection, and what goes with the question.
func (x *read) header() (http.Header, error) {
	header, err := x.r.header()
	if err != nil {
		return nil, err
	}
	if x.body != nil {
		header.Set("Content-Type", "application/json")
	}
	if name := x.r.option(x.query.Table, "reference_header", ""); name != "" && x.query.Reference != "" {
		header.Set(name, x.query.Reference)
	}
	return header, nil
}

// single reports whether an answer is one row, and not a list.
func (x *read) single() bool { return x.r.option(x.query.Table, "answer", "rows") == "row" }

func (r *REST) read(q connector.Query) (*read, error) {
	t, err := r.config.Table(q.Table)
	if err != nil {
		return nil, err
	}
	if len(q.Select) == 0 || len(q.Expand) > 0 {
		return nil, fault.Invalidf("connector.select", "a read of %s selects columns, and expands nothing", q.Table)
	}
	if err := t.Check(q.Select...); err != nil {
		return nil, err
	}
	where := connector.Row{}
	for _, m := range q.Where {
		if err := t.Check(m.Column); err != nil {
			return nil, err
		}
		if _, ok := text(m.Value); !ok {
			return nil, fault.Invalidf("connector.value", "column %s of %s can be compared with one text, number or truth value only", m.Column, t.Name)
		}
		where[m.Column] = m.Value
	}
	if column := r.option(q.Table, "answers_for", ""); column != "" {
		if _, given := where[column]; !given {
			return nil, fault.Invalidf(System+".answers_for", "%s is asked about somebody by %s: it has to stand in where, or else an answer about anybody would do", q.Table, column)
		}
	}
	path, used, err := fill(t, t.Path, where)
	if err != nil {
		return nil, err
	}
	x := &read{r: r, table: t, query: q, paging: r.option(q.Table, "paging", "none"), limit: q.Limit, where: where}
	if x.limit <= 0 {
		x.limit, _ = strconv.Atoi(r.option(q.Table, "limit", strconv.Itoa(defaultLimit)))
	}
	x.limit = min(max(x.limit, 1), maxLimit)
	params := url.Values{}
	asked := connector.Row{}
	for _, m := range q.Where {
		if !used[m.Column] {
			value, _ := text(m.Value)
			params.Set(m.Column, value)
			asked[m.Column] = m.Value
		}
	}
	if r.option(q.Table, "read", http.MethodGet) == http.MethodPost {
		// Addresses stand in logs; what is asked of a person does not.
		params = url.Values{}
		if x.body, err = json.Marshal(asked); err != nil {
			return nil, fault.New(fault.Bug, System+".value", "what "+t.Name+" is asked for cannot be encoded", nil)
		}
	}
	if name := r.option(q.Table, "select_param", ""); name != "" {
		params.Set(name, strings.Join(q.Select, ","))
	}
	if name := r.option(q.Table, "limit_param", map[bool]string{true: "limit"}[x.paging != "none"]); name != "" {
		params.Set(name, strconv.Itoa(x.limit))
	}
	x.target = with(path, params)
	return x, nil
}

func with(target string, params url.Values) string {
	if len(params) == 0 {
		return target
	}
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	return target + sep + strings.ReplaceAll(params.Encode(), "+", "%20")
}

// first is the number of the first page, or the offset in it.
func (x *read) first() int {
	if x.paging != "page" {
		return 0
	}
	n, _ := strconv.Atoi(x.r.option(x.query.Table, "first_page", "1"))
	return n
}

// numbered is the address of a page by number or offset.
func (x *read) numbered(n int) string {
	switch x.paging {
	case "page":
		return with(x.target, url.Values{x.r.option(x.query.Table, "page_param", "page"): {strconv.Itoa(n)}})
	case "offset":
		return with(x.target, url.Values{x.r.option(x.query.Table, "offset_param", "offset"): {strconv.Itoa(n)}})
	}
	return x.target
}

// behind is the address of a page that is not the first.
func (x *read) behind(next string) (target string, position int, before string, err error) {
	switch x.paging {
	case "next":
		target, err = x.link(next)
		return target, 0, "", err
	case "cursor":
		return with(x.target, url.Values{x.r.option(x.query.Table, "cursor_param", "cursor"): {next}}), 0, "", nil
	case "page", "offset":
		number, digest, _ := strings.Cut(next, ":")
		if position, err = strconv.Atoi(number); err != nil || position <= 0 {
			return "", 0, "", connector.BadToken()
		}
		target = x.numbered(position)
		return target, position, digest, err
	}
	return "", 0, "", connector.BadToken()
}

// link makes a link absolute; the transport lets it lead to the same host only.
func (x *read) link(next string) (string, error) {
	own, err := x.r.deps.Value(x.r.config.Name, x.r.config.URL)
	if err != nil {
		return "", err
	}
	base, err := url.Parse(strings.TrimRight(own, "/") + x.target)
	if err != nil {
		return "", fault.Invalidf("connector.url", "connection %s: url is no URL", x.r.config.Name)
	}
	to, err := base.Parse(next)
	if err != nil {
		return "", connector.BadToken()
	}
	return to.String(), nil
}

// page takes the rows out of an answer, and where the next ones are.
func (x *read) page(got map[string]any, token string, position int, before string) (connector.Page, error) {
	table, t := x.query.Table, x.r.transport
	found, _ := at(got, x.r.option(table, "rows", "/items"))
	items, ok := found.([]any)
	if !ok {
		return connector.Page{}, t.Malformed("it has no list where option rows says")
	}
	page := connector.Page{Rows: make([]connector.Row, len(items))}
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return connector.Page{}, t.Malformed("a row is no object")
		}
		if err := x.about(object); err != nil {
			return connector.Page{}, err
		}
		page.Rows[i] = pick(object, x.query.Select)
	}
	next, err := x.next(got, items, position, before)
	if err != nil {
		return connector.Page{}, err
	}
	page.Next, err = t.Advance(token, next)
	return page, err
}

// row takes the one row out of an answer.
func (x *read) row(got map[string]any) (connector.Page, error) {
	found, _ := at(got, x.r.option(x.query.Table, "row", ""))
	object, ok := found.(map[string]any)
	if !ok {
		return connector.Page{}, x.r.transport.Malformed("it has no object where option row says")
	}
	if err := x.about(object); err != nil {
		return connector.Page{}, err
	}
	return connector.Page{Rows: []connector.Row{pick(object, x.query.Select)}}, nil
}

// about holds a row against what was asked for, in the column that option answers_for names: an
// answer about somebody else is never used, whatever the rest of it says.
func (x *read) about(object map[string]any) error {
	column := x.r.option(x.query.Table, "answers_for", "")
	if column == "" {
		return nil
	}
	want, _ := text(x.where[column])
	if told, ok := text(object[column]); !ok || told != want {
		return fault.New(fault.Bug, System+".other-subject", "the answer of "+x.r.config.Name+" is about somebody else than was asked for: its "+column+" is another one, or missing; it is not used", nil)
	}
	return nil
}

func pick(object map[string]any, columns []string) connector.Row {
	row := make(connector.Row, len(columns))
	for _, column := range columns {
		row[column] = object[column]
	}
	return row
}

// next is the continuation, "" behind the last page. A page that is shorter than it
// could be is not the last one for that.
func (x *read) next(got map[string]any, items []any, position int, before string) (string, error) {
	table, t := x.query.Table, x.r.transport
	more, said := at(got, x.r.option(table, "more", "/-"))
	going, isBool := more.(bool)
	if said && !isBool {
		return "", t.Malformed("it does not say whether there is more where option more says")
	}
	switch x.paging {
	case "next", "cursor":
		found, _ := at(got, x.r.option(table, x.paging, "/"+x.paging))
		next, _ := text(found)
		if found != nil && next == "" && found != "" {
			return "", t.Malformed("what leads to the next page is no text")
		}
		if said && going && next == "" {
			return "", t.Malformed("it says that there is more, and not where")
		}
		if said && !going {
			return "", nil
		}
		return next, nil
	case "page", "offset":
		digest := digestOf(items)
		switch {
		case len(items) == 0 && !going, said && !going:
			return "", nil
		case len(items) == 0, digest == before:
			return "", t.PageLoop()
		}
		if x.paging == "page" {
			return fmt.Sprintf("%d:%s", max(position, x.first())+1, digest), nil
		}
		return fmt.Sprintf("%d:%s", position+len(items), digest), nil
	}
	return "", nil
}

func digestOf(items []any) string {
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode(items) // it came as JSON
	return strconv.FormatUint(h.Sum64(), 16)
}

// ReadByKey reads rows back, each at its own address. What a POST made has none.
func (r *REST) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := r.config.Table(table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(append(append([]string{}, key...), columns...)...); err != nil {
		return nil, err
	}
	rows := make([]connector.Row, len(keys))
	if r.option(table, "write", http.MethodPut) == http.MethodPost {
		return rows, nil
	}
	for i, k := range keys {
		if rows[i], err = r.one(ctx, t, table, key, k, columns); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (r *REST) one(ctx context.Context, t connector.Table, table string, key []string, row connector.Row, columns []string) (connector.Row, error) {
	target, err := r.rowAt(t, table, key, row)
	if err != nil {
		return nil, err
	}
	header, err := r.header()
	if err != nil {
		return nil, err
	}
	var got map[string]any
	_, err = r.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: header}, &got)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, _ := at(got, r.option(table, "row", ""))
	object, ok := found.(map[string]any)
	if !ok {
		return nil, r.transport.Malformed("it has no object where option row says")
	}
	return pick(object, columns), nil
}

// rowAt is the address of a row: option write_path, else the table's path and the key.
func (r *REST) rowAt(t connector.Table, table string, key []string, row connector.Row) (string, error) {
	path := r.option(table, "write_path", "")
	if path == "" {
		if len(key) != 1 {
			return "", fault.Invalidf("connector.key", "a row of %s is addressed by %d columns: say how with the option %s.write_path", t.Name, len(key), table)
		}
		path = strings.TrimRight(t.Path, "/") + "/{" + key[0] + "}"
	}
	target, _, err := fill(t, path, row)
	return target, err
}
