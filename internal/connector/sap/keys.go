package sap

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// keysPerRead and addressLength bound one $filter over several keys; servers and
// gateways on the way refuse long addresses.
const (
	keysPerRead   = 20
	addressLength = 6000
)

// ReadByKey reads rows by key: one by its address, several by a filter, documents with
// columns of their lines each by itself. A row holds the key and the columns asked for.
func (s *SAP) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := s.config.Table(table)
	if err != nil {
		return nil, err
	}
	selected, err := t.ByKey(key, columns)
	if err != nil {
		return nil, err
	}
	at, err := s.target(ctx, table, key...)
	if err != nil {
		return nil, err
	}
	if s.byReference(table, key) || slices.ContainsFunc(columns, at.reaches) {
		return s.documents(ctx, table, key, keys, selected)
	}
	if at, err = s.target(ctx, table, selected...); err != nil {
		return nil, err
	}
	found := make([]connector.Row, len(keys))
	if len(keys) == 1 && at.isKey(key) {
		item, err := s.one(ctx, at, keys[0], selected)
		if err != nil || item == nil {
			return found, err
		}
		found[0] = at.pick(item, selected)
		return found, nil
	}
	items, err := s.byKey(ctx, at, key, keys, selected)
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		if item != nil {
			found[i] = at.pick(item, selected)
		}
	}
	return found, nil
}

// isKey reports whether columns are the key of the entity, in any order.
func (t target) isKey(columns []string) bool {
	return len(columns) == len(t.entity.keys) && !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(t.entity.keys, c) })
}

// one reads an entity by its address; nil: there is none.
func (s *SAP) one(ctx context.Context, at target, key connector.Row, selected []string) (map[string]any, error) {
	address, err := at.address(key)
	if err != nil {
		return nil, err
	}
	var got map[string]any
	_, err = s.transport.Do(ctx, connector.Request{
		Method: http.MethodGet, Target: at.root + "/" + address + s.query("$select="+strings.Join(selected, ",")), Header: http.Header{"Accept": jsonType(at.v4)},
	}, &got)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	item := got
	if !at.v4 {
		var ok bool
		if item, ok = got["d"].(map[string]any); !ok {
			return nil, s.transport.Malformed("there is no row")
		}
	}
	for _, c := range selected {
		if _, ok := item[c]; !ok {
			return nil, s.transport.Malformed("a column that was asked for is missing")
		}
	}
	return item, nil
}

// byKey reads the items of keys by filters, nil where there is none.
func (s *SAP) byKey(ctx context.Context, at target, key []string, keys []connector.Row, selected []string) ([]map[string]any, error) {
	found := make([]map[string]any, len(keys))
	for from := 0; from < len(keys); {
		condition, n, err := at.keyFilter(key, keys[from:])
		if err != nil {
			return nil, err
		}
		if err := s.readSome(ctx, at, condition, key, selected, keys[from:from+n], found[from:from+n]); err != nil {
			return nil, err
		}
		from += n
	}
	return found, nil
}

// keyFilter makes the condition for as many of the keys as one request takes.
func (t target) keyFilter(key []string, keys []connector.Row) (condition string, n int, err error) {
	for n < len(keys) && n < keysPerRead {
		where := make([]connector.Match, len(key))
		for i, column := range key {
			where[i] = connector.Match{Column: column, Value: keys[n][column]}
		}
		one, err := t.filter(where)
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

// readSome fills found with the items of keys that exist.
func (s *SAP) readSome(ctx context.Context, at target, condition string, key, selected []string, keys []connector.Row, found []map[string]any) error {
	exact, folded := map[string]map[string]any{}, map[string]map[string]any{}
	items, err := s.every(ctx, at, s.query("$select="+strings.Join(selected, ","), "$filter="+connector.EscapeQuery(condition)))
	if err != nil {
		return err
	}
	for _, item := range items {
		row := at.pick(item, key)
		exact[at.identity(key, row, false)] = item
		folded[at.identity(key, row, true)] = item
	}
	for i, k := range keys {
		item, ok := exact[at.identity(key, k, false)]
		if !ok {
			item = folded[at.identity(key, k, true)]
		}
		found[i] = item
	}
	return nil
}

// identity makes the values of a key comparable. Folded it leaves out the zeros that
// SAP puts before a number and leaves out when it shows one.
func (t target) identity(key []string, row connector.Row, folded bool) string {
	var b strings.Builder
	for _, column := range key {
		text, err := t.literal(column, row[column])
		if err != nil {
			text = "?"
		}
		if inner := strings.Trim(text, "'"); folded && inner != "" && strings.Trim(inner, "0123456789") == "" {
			text = strings.TrimLeft(inner, "0")
		}
		b.WriteString(text)
		b.WriteByte(0)
	}
	return b.String()
}
