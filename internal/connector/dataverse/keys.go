package dataverse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/batch"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// keysPerRead and addressLength bound one $filter over several keys; an address
// may have 32,768 characters, gateways on the way often allow fewer.
const (
	keysPerRead   = 20
	keysPerList   = 100 // of texts that are listed
	addressLength = 8000
	// readsPerBatch is how many such reads go into one $batch.
	readsPerBatch = 25
)

// ReadByKey reads rows by key: one by its address, several by filters, of which many
// go into one $batch. A row holds the key and the columns asked for.
func (v *Dataverse) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return nil, err
	}
	t = identified(t)
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) && !strings.HasSuffix(c, "@odata.bind") { // which nobody can read
			selected = append(selected, c)
		}
	}
	if err := t.Check(selected...); err != nil || len(key) == 0 {
		return nil, errors.Join(err, noKey(t, key))
	}
	found := make([]connector.Row, len(keys))
	if len(keys) == 1 {
		if at, bad := address(t, key, keys[0]); bad == nil {
			found[0], err = v.readOne(ctx, t, at, selected)
			return found, err
		}
		// What cannot be addressed can still be filtered by.
	}
	items, err := v.items(ctx, t, key, keys, selected)
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		if item != nil {
			found[i] = pick(t, item, selected)
		}
	}
	return found, nil
}

// items reads rows by key as they come; nil: there is none. What is selected has the key
// in it.
func (v *Dataverse) items(ctx context.Context, t connector.Table, key []string, keys []connector.Row, selected []string) ([]map[string]any, error) {
	found := make([]map[string]any, len(keys))
	reads, err := v.retrievals(t, key, selected, keys, found)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(reads, readsPerBatch) {
		if err := v.readAll(ctx, some); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// retrieval is one read of the rows of several keys, which go into found.
type retrieval struct {
	table  connector.Table
	target string
	prefer string
	key    []string
	keys   []connector.Row
	found  []map[string]any
}

func (v *Dataverse) retrievals(t connector.Table, key, selected []string, keys []connector.Row, found []map[string]any) ([]retrieval, error) {
	var list []retrieval
	for from := 0; from < len(keys); {
		condition, n, err := keyFilter(t, key, keys[from:])
		if err != nil {
			return nil, err
		}
		target := v.root + t.Path + "?$select=" + selection(t, selected) + "&$filter=" + connector.EscapeQuery(condition)
		list = append(list, retrieval{t, target, pages(t, selected, maxPage), key, keys[from : from+n], found[from : from+n]})
		from += n
	}
	return list, nil
}

// readAll does several retrievals by one $batch. Where that is refused, or a part of it
// is, they are done one by one.
func (v *Dataverse) readAll(ctx context.Context, some []retrieval) error {
	var replies []batch.Reply
	if len(some) > 1 {
		operations := make([]batch.Operation, len(some))
		for i, r := range some {
			operations[i] = batch.Operation{Method: http.MethodGet, Address: r.target, Header: http.Header{"Accept": {"application/json"}, "Prefer": {r.prefer}}}
		}
		var err error
		if replies, err = v.batch(ctx, operations, nil); err != nil && !aboutRows(err) {
			return err
		}
	}
	for i, r := range some {
		first := list{next: r.target}
		if replies != nil && replies[i].Status == http.StatusOK {
			got, err := strictjson.Decode(replies[i].Body, "")
			if err != nil {
				return v.transport.Malformed("a part of a $batch is no JSON")
			}
			object, _ := got.(map[string]any)
			if first, err = v.listed(object["value"], object[nextLink]); err != nil {
				return err
			}
		}
		if err := v.readSome(ctx, r, first); err != nil {
			return err
		}
	}
	return nil
}

func noKey(t connector.Table, key []string) error {
	if len(key) > 0 {
		return nil
	}
	return fault.Invalidf("connector.key", "a row of %s is asked for by no key column", t.Name)
}

func (v *Dataverse) readOne(ctx context.Context, t connector.Table, at string, selected []string) (connector.Row, error) {
	h := reading()
	if led := led(t, selected); led != "" {
		h["Prefer"] = []string{led}
	}
	var item map[string]any
	_, err := v.transport.Do(ctx, connector.Request{
		Method: http.MethodGet, Target: v.root + at + "?$select=" + selection(t, selected), Header: h,
	}, &item)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, c := range selected {
		if _, ok := item[wire(t, c)]; !ok {
			return nil, v.transport.Malformed("a column that was asked for is missing")
		}
	}
	return pick(t, item, selected), nil
}

// keyFilter makes the condition for as many of the keys as one request takes.
func keyFilter(t connector.Table, key []string, keys []connector.Row) (condition string, n int, err error) {
	if len(key) == 1 {
		if condition, n = listed(wire(t, key[0]), key[0], keys); n > 1 {
			return condition, n, t.Check(key...)
		}
		condition, n = "", 0
	}
	for n < len(keys) && n < keysPerRead {
		where := make([]connector.Match, len(key))
		for i, column := range key {
			where[i] = connector.Match{Column: column, Value: keys[n][column]}
		}
		one, err := filter(t, where)
		if err != nil {
			return "", 0, err
		}
		longer := "(" + one + ")"
		if n > 0 {
			longer = condition + " or " + longer
		}
		if n > 0 && len(connector.EscapeQuery(longer)) > addressLength {
			break
		}
		condition = longer
		n++
	}
	return condition, n, nil
}

// listed makes the condition for as many keys of one text column as stand first and can
// be listed: a list is looked up once, where comparisons are made one after the other.
func listed(name, column string, keys []connector.Row) (condition string, n int) {
	var list []string
	length := 0
	for n < len(keys) && n < keysPerList {
		text, isText := keys[n][column].(string)
		if !isText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || strings.ContainsRune("\"'\\", r) }) {
			break
		}
		if length += len(connector.EscapeQuery(`"` + text + `",`)); length > addressLength {
			break
		}
		list, n = append(list, `"`+text+`"`), n+1
	}
	return "Microsoft.Dynamics.CRM.In(PropertyName='" + name + "',PropertyValues=[" + strings.Join(list, ",") + "])", n
}

// readSome fills found with the rows of keys that exist, of what was read already and
// what follows. Dataverse compares text without case, so a row that differs in case is
// the row of the key.
func (v *Dataverse) readSome(ctx context.Context, r retrieval, got list) error {
	exact, folded := map[string]map[string]any{}, map[string]map[string]any{}
	for token := ""; ; {
		for _, item := range got.rows {
			id := identity(r.key, pick(r.table, item, r.key))
			exact[id], folded[strings.ToLower(id)] = item, item
		}
		if got.next == "" {
			break
		}
		var err error
		if token, err = v.transport.Advance(token, got.next); err != nil {
			return err
		}
		if got, err = v.list(ctx, got.next, r.prefer); err != nil {
			return err
		}
	}
	for i, k := range r.keys {
		id := identity(r.key, k)
		row, ok := exact[id]
		if !ok {
			row = folded[strings.ToLower(id)]
		}
		r.found[i] = row
	}
	return nil
}

// FoldKey is equal for rows that Dataverse takes for one: its texts are compared
// without regard to case.
func (v *Dataverse) FoldKey(key []string, row connector.Row) string {
	return strings.ToLower(identity(key, row))
}

// identity makes the values of a key comparable. SQL Server ignores blanks at
// the end of a text.
func identity(key []string, row connector.Row) string {
	var b strings.Builder
	for _, column := range key {
		fmt.Fprintf(&b, "%s\x00", strings.TrimRight(fmt.Sprint(row[column]), " "))
	}
	return b.String()
}
