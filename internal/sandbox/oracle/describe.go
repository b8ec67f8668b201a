package oracle

import (
	"strings"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

func description(r *resource, href string) *ordered.Object {
	attributes := []*ordered.Object{}
	for _, a := range r.Attributes {
		if a.Hides {
			continue
		}
		o := ordered.New("name", a.Name, "type", typeName(a.Kind), "updatable", a.Updatable && !r.ReadOnly,
			"mandatory", a.Mandatory, "queryable", a.Kind != storage.Bytes)
		if a.MaxLength > 0 {
			o.Set("maxLength", a.MaxLength)
		}
		attributes = append(attributes, o.Set("title", titleOf(a.Name)))
	}
	variables := []*ordered.Object{}
	for _, key := range r.Table.Primary {
		if a, ok := r.attribute(key); ok {
			variables = append(variables, ordered.New("name", key, "type", typeName(a.Kind)))
		}
	}
	actions := []*ordered.Object{action("get", "GET")}
	onItem := []*ordered.Object{action("get", "GET")}
	if !r.ReadOnly {
		actions = append(actions, action("create", "POST"))
		onItem = append(onItem, action("update", "PATCH"), action("delete", "DELETE"))
	}
	if !strings.HasSuffix(href, "/"+r.Name) {
		href += "/" + r.Name
	}
	o := ordered.New("discrColumnType", false, "title", r.Title, "attributes", attributes,
		"collection", ordered.New("rangeSize", defaultLimit,
			"finders", []*ordered.Object{ordered.New("name", "PrimaryKey", "title", "PrimaryKey", "attributes", variables)},
			"links", []*ordered.Object{ordered.New("rel", "self", "href", href, "name", "self", "kind", "collection")},
			"actions", actions),
		"item", ordered.New("actions", onItem))
	if len(r.Children) > 0 {
		children := ordered.New()
		for _, child := range r.Children {
			children.Set(child.Name, description(child, href+"/{id}/child/"+child.Name))
		}
		o.Set("children", children)
	}
	return o
}

func action(name, method string) *ordered.Object { return ordered.New("name", name, "method", method) }

func typeName(k storage.Kind) string {
	switch k {
	case storage.Int:
		return "integer"
	case storage.Decimal:
		return "number"
	case storage.Bool:
		return "boolean"
	case storage.Time:
		return "datetime"
	case storage.Date:
		return "date"
	case storage.Bytes:
		return "attachment"
	default:
		return "string"
	}
}

// titleOf is a name as a person reads it: "ItemNumber" is "Item Number".
func titleOf(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' && name[i-1] >= 'a' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
