package ibm

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// read is one query, made ready to be asked page by page.
type read struct {
	i          *IBM
	table      connector.Table
	selected   []string
	fields     []string // of Document
	properties []string // of the class
	size       int
}

// ReadPage reads one page. The token holds the system's own, which it keeps for a
// while: one that it no longer knows is a Conflict, "connector.cursor_expired", and
// the read begins again.
func (i *IBM) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	r, err := i.newRead(q.Table, q.Select, q.Limit)
	if err != nil {
		return connector.Page{}, err
	}
	if len(q.Expand) > 0 {
		return connector.Page{}, fault.Invalidf("connector.expand", "table %s: a document has no child rows here", q.Table)
	}
	where, err := r.where(q.Where, q.Since)
	if err != nil {
		return connector.Page{}, err
	}
	if token == "" {
		return r.first(ctx, where)
	}
	wire, err := continuation(token)
	if err != nil {
		return connector.Page{}, err
	}
	page, err := r.more(ctx, wire, token)
	if f := fault.Of(err); err != nil && (f.Class == fault.Rejected || f.Class == fault.NotFound) && strings.HasPrefix(f.Code, System+".") {
		// The same fields were answered before: what it does not like is the token.
		err = fault.New(fault.Conflict, "connector.cursor_expired", i.config.Name+" no longer knows where the read was; it begins again", err)
	}
	return page, err
}

func (i *IBM) newRead(table string, selected []string, size int) (*read, error) {
	t, err := i.config.Table(table)
	if err != nil {
		return nil, err
	}
	if len(selected) == 0 {
		return nil, fault.Invalidf("connector.select", "a read of %s selects no column", table)
	}
	declared := slices.DeleteFunc(slices.Clone(selected), func(column string) bool { _, every := fields[column]; return every }) // every document has those
	if err := t.Check(declared...); err != nil {
		return nil, err
	}
	if err := (connector.Table{Name: "the classes"}).Check(t.Path); err != nil {
		return nil, fault.Invalidf("connector.path", "table %s: path %q is no symbolic name of a class", table, t.Path)
	}
	if size <= 0 {
		size = defaultPage
	}
	r := &read{i: i, table: t, selected: selected, size: min(size, maxPage)}
	for _, column := range selected {
		if _, ok := fields[column]; ok {
			r.fields = append(r.fields, column)
		} else {
			r.properties = append(r.properties, column)
		}
	}
	return r, nil
}

// order is total. What changes while all is read comes again, at the end.
const order = "d.[DateLastModified], d.[Id]"

func (r *read) first(ctx context.Context, where string) (connector.Page, error) {
	variables := map[string]any{"repository": r.i.repository, "from": r.table.Path + " d", "order": order, "size": r.size}
	declared := "$repository:String!,$from:String!,$order:String!,$size:Int!"
	arguments := "repositoryIdentifier:$repository,from:$from,orderBy:$order,pageSize:$size"
	if where != "" {
		variables["where"] = where
		declared += ",$where:String!"
		arguments += ",where:$where"
	}
	return r.page(ctx, "documents", declared, arguments, variables, "")
}

func (r *read) more(ctx context.Context, wire, token string) (connector.Page, error) {
	return r.page(ctx, "moreDocuments", "$token:String!", "token:$token", map[string]any{"token": wire}, token)
}

// page asks for one page. The text of the query holds names only.
func (r *read) page(ctx context.Context, field, declared, arguments string, variables map[string]any, token string) (connector.Page, error) {
	wanted := strings.Join(r.fields, " ")
	if len(r.properties) > 0 {
		declared += ",$properties:[String!]"
		variables["properties"] = r.properties
		wanted += " properties(includes:$properties){id value}"
	}
	data, err := r.i.ask(ctx, "query("+declared+"){"+field+"("+arguments+"){documents{"+strings.TrimSpace(wanted)+"}pageInfo{token}}}", variables)
	if err != nil {
		return connector.Page{}, err
	}
	set, _ := data[field].(map[string]any)
	documents, isList := set["documents"].([]any)
	info, isInfo := set["pageInfo"].(map[string]any)
	if !isList || !isInfo {
		return connector.Page{}, r.i.transport.Malformed("a set of documents lacks its list or its pageInfo")
	}
	page := connector.Page{Rows: make([]connector.Row, len(documents))}
	for n, one := range documents {
		if page.Rows[n], err = r.row(one); err != nil {
			return connector.Page{}, err
		}
	}
	next, isText := info["token"].(string)
	if _, there := info["token"]; !there || !isText && info["token"] != nil {
		return connector.Page{}, r.i.transport.Malformed("it does not say whether there is more")
	}
	if next != "" {
		// In a form of our own, so that only what was given is ever sent.
		next = base64.RawURLEncoding.EncodeToString([]byte(next))
	}
	page.Next, err = r.i.transport.Advance(token, next)
	return page, err
}

func continuation(token string) (string, error) {
	own, err := connector.Continuation(token)
	if err != nil {
		return "", err
	}
	wire, err := base64.RawURLEncoding.DecodeString(own)
	if err != nil {
		return "", connector.BadToken()
	}
	return string(wire), nil
}

// row keeps the selected columns of a document. A property that its class does not
// have is absent, one without a value is nil.
func (r *read) row(one any) (connector.Row, error) {
	document, ok := one.(map[string]any)
	if !ok {
		return nil, r.i.transport.Malformed("a document is no object")
	}
	row := make(connector.Row, len(r.selected))
	for _, name := range r.fields {
		value, there := document[name]
		if !there {
			return nil, r.i.transport.Malformed("a field that was asked for is missing")
		}
		row[name] = value
	}
	if len(r.properties) == 0 {
		return row, nil
	}
	list, ok := document["properties"].([]any)
	if !ok {
		return nil, r.i.transport.Malformed("a document lacks its properties")
	}
	for _, one := range list {
		property, _ := one.(map[string]any)
		id, isText := property["id"].(string)
		value, there := property["value"]
		if !isText || !there {
			return nil, r.i.transport.Malformed("a property lacks its name or its value")
		}
		if slices.Contains(r.properties, id) {
			row[id] = value
		}
	}
	return row, nil
}
