package dataverse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// keysPerRead and addressLength bound one $filter over several keys; an address
// may have 32,768 characters, gateways on the way often allow fewer.
const (
	keysPerRead   = 20
	addressLength = 8000
)

// ReadByKey reads rows by key: one by its address, several by a filter. A row
// holds the key and the columns asked for.
func (v *Dataverse) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return nil, err
	}
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) {
			selected = append(selected, c)
		}
	}
	if err := t.Check(selected...); err != nil || len(key) == 0 {
		return nil, errors.Join(err, noKey(t, key))
	}
	found := make([]connector.Row, len(keys))
	if len(keys) == 1 {
		if at, bad := address(t, key, keys[0]); bad == nil {
			found[0], err = v.readOne(ctx, at, selected)
			return found, err
		}
		// What cannot be addressed can still be filtered by.
	}
	for from := 0; from < len(keys); {
		condition, n, err := keyFilter(t, key, keys[from:])
		if err != nil {
			return nil, err
		}
		if err := v.readSome(ctx, t, condition, key, selected, keys[from:from+n], found[from:from+n]); err != nil {
			return nil, err
		}
		from += n
	}
	return found, nil
}

func noKey(t connector.Table, key []string) error {
	if len(key) > 0 {
		return nil
	}
	return fault.Invalidf("connector.key", "a row of %s is asked for by no key column", t.Name)
}

func (v *Dataverse) readOne(ctx context.Context, at string, selected []string) (connector.Row, error) {
	var item map[string]any
	_, err := v.transport.Do(ctx, connector.Request{
		Method: http.MethodGet, Target: v.root + at + "?$select=" + strings.Join(selected, ","), Header: reading(),
	}, &item)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, c := range selected {
		if _, ok := item[c]; !ok {
			return nil, v.transport.Malformed("a column that was asked for is missing")
		}
	}
	return pick(item, selected), nil
}

// keyFilter makes the condition for as many of the keys as one request takes.
func keyFilter(t connector.Table, key []string, keys []connector.Row) (condition string, n int, err error) {
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

// readSome fills found with the rows of keys that exist. Dataverse compares text
// without case, so a row that differs in case is the row of the key.
func (v *Dataverse) readSome(ctx context.Context, t connector.Table, condition string, key, selected []string, keys, found []connector.Row) error {
	target := v.root + t.Path + "?$select=" + strings.Join(selected, ",") + "&$filter=" + connector.EscapeQuery(condition)
	exact, folded := map[string]connector.Row{}, map[string]connector.Row{}
	for token := ""; target != ""; {
		got, err := v.list(ctx, target, maxPage)
		if err != nil {
			return err
		}
		for _, item := range got.rows {
			row := pick(item, selected)
			exact[identity(key, row)] = row
			folded[strings.ToLower(identity(key, row))] = row
		}
		if token, err = v.transport.Advance(token, got.next); err != nil {
			return err
		}
		target = got.next
	}
	for i, k := range keys {
		id := identity(key, k)
		row, ok := exact[id]
		if !ok {
			row = folded[strings.ToLower(id)]
		}
		found[i] = row
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
