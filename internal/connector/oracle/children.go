package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// path is where children are found: one or more branches of accessor names from
// the item down, and their wire form. The rows are what the last names hold.
type path struct {
	wire     string
	branches [][]string
}

// discriminator tells the rows of a flexfield apart; its lines inherit it.
const discriminator = "CategoryCode"

func parsePath(wire string) (path, error) {
	p := path{wire: strings.ReplaceAll(wire, " ", "")}
	for _, branch := range strings.Split(p.wire, ",") {
		names := strings.Split(branch, ".")
		if err := (connector.Table{Name: "an expand path"}).Check(names...); err != nil {
			return p, fault.Invalidf("connector.expand", "expand path %q is not made of names, dots and commas", wire)
		}
		p.branches = append(p.branches, names)
	}
	return p, nil
}

// rows collects the children of an item, flattened.
func (p path) rows(item map[string]any) ([]any, error) {
	rows := []any{}
	for _, branch := range p.branches {
		if _, ok := item[branch[0]]; !ok {
			return nil, errors.New("a child that was asked for is missing")
		}
		var err error
		if rows, err = descend(rows, item, branch, nil); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func descend(rows []any, node map[string]any, branch []string, inherited any) ([]any, error) {
	children, _, err := members(node[branch[0]])
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		code, ok := child[discriminator]
		if !ok {
			code = inherited
		}
		if len(branch) > 1 {
			if rows, err = descend(rows, child, branch[1:], code); err != nil {
				return nil, err
			}
			continue
		}
		delete(child, "links")
		if code != nil {
			child[discriminator] = code
		}
		rows = append(rows, child)
	}
	return rows, nil
}

// members reads a list of rows in either of its forms: a collection since
// framework version 3, a bare list before. Whatever is not as documented is an
// error: what is missing would not be missed.
func members(of any) (rows []map[string]any, hasMore bool, err error) {
	list := of
	if object, ok := of.(map[string]any); ok {
		if list, ok = object["items"]; !ok || list == nil {
			return nil, false, errors.New("a collection has no items")
		}
		if hasMore, ok = object["hasMore"].(bool); !ok && object["hasMore"] != nil {
			return nil, false, errors.New("hasMore is neither true nor false")
		}
		items, isList := list.([]any)
		if count := object["count"]; isList && count != nil && count != json.Number(strconv.Itoa(len(items))) {
			return nil, false, errors.New("count and items of a collection differ")
		}
	}
	switch items := list.(type) {
	case nil:
		return nil, false, nil
	case []map[string]any:
		return items, hasMore, nil
	case []any:
		rows = make([]map[string]any, len(items))
		for i, item := range items {
			row, ok := item.(map[string]any)
			if !ok {
				return nil, false, errors.New("a collection holds something that is no object")
			}
			rows[i] = row
		}
		return rows, hasMore, nil
	}
	return nil, false, errors.New("what should be a collection is neither that nor a list")
}

// cutOff reports whether any child asked for has more rows than were given.
func (r *read) cutOff(items []map[string]any) bool {
	for _, p := range r.expands {
		for _, branch := range p.branches {
			for _, item := range items {
				if cut(item, branch) {
					return true
				}
			}
		}
	}
	return false
}

func cut(node map[string]any, branch []string) bool {
	children, hasMore, err := members(node[branch[0]])
	if hasMore || err != nil {
		return hasMore
	}
	return len(branch) > 1 && slices.ContainsFunc(children, func(c map[string]any) bool { return cut(c, branch[1:]) })
}

// complete reads the rest of every child below node from the child's own
// address, which is the node's self link and the accessor's name.
func (o *Oracle) complete(ctx context.Context, node map[string]any, branches [][]string) error {
	for i, branch := range branches {
		name := branch[0]
		if slices.ContainsFunc(branches[:i], func(b []string) bool { return b[0] == name }) {
			continue
		}
		rows, hasMore, err := members(node[name])
		if err != nil {
			return o.transport.Malformed(err.Error())
		}
		var below [][]string
		for _, b := range branches {
			if b[0] == name && len(b) > 1 {
				below = append(below, b[1:])
			}
		}
		for hasMore {
			self, err := o.self(node)
			if err != nil {
				return err
			}
			page, err := o.collection(ctx, childPage(self, name, len(rows), below), len(rows))
			if err != nil {
				return err
			}
			rows, hasMore = append(rows, page.items...), page.hasMore
		}
		node[name] = map[string]any{"items": rows}
		for _, row := range rows {
			if err := o.complete(ctx, row, below); err != nil {
				return err
			}
		}
	}
	return nil
}

func childPage(self, name string, offset int, below [][]string) string {
	target := self + "/child/" + name + "?links=self&limit=" + strconv.Itoa(maxLimit) + "&offset=" + strconv.Itoa(offset)
	if len(below) > 0 {
		wires := make([]string, len(below))
		for i, b := range below {
			wires[i] = strings.Join(b, ".")
		}
		target += "&expand=" + strings.Join(wires, ",")
	}
	return target
}

// self finds the address of a row; it is a hash that cannot be built.
func (o *Oracle) self(node map[string]any) (string, error) {
	links, _ := node["links"].([]any)
	for _, l := range links {
		link, _ := l.(map[string]any)
		if link["rel"] != "self" {
			continue
		}
		if href, ok := link["href"].(string); ok {
			if u, err := url.Parse(href); err == nil && u.RawQuery == "" && u.Fragment == "" {
				return href, nil
			}
		}
	}
	return "", o.transport.Malformed("a row with further children has no link to itself")
}
