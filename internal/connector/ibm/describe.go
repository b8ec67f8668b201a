package ibm

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"patchbay/internal/connector"
)

// shape asks for what the class is described with, and the API's own schema for the
// fields that every document has.
const shape = `query($repository:String!,$class:String!){` +
	`classDescription(repositoryIdentifier:$repository,identifier:$class){propertyDescriptions{symbolicName dataType cardinality isValueRequired ` +
	`...on PropertyDescriptionString{maximumLengthString}}}` +
	`__type(name:"Document"){fields{name type{kind name ofType{kind name}}}}}`

// Describe tells the fields of a document and the properties of the table's class.
func (i *IBM) Describe(ctx context.Context, table string) (connector.Description, error) {
	t, err := i.config.Table(table)
	if err != nil {
		return connector.Description{}, err
	}
	data, err := i.ask(ctx, shape, map[string]any{"repository": i.repository, "class": t.Path})
	if err != nil {
		return connector.Description{}, err
	}
	class, _ := data["classDescription"].(map[string]any)
	properties, hasProperties := class["propertyDescriptions"].([]any)
	schema, _ := data["__type"].(map[string]any)
	list, hasFields := schema["fields"].([]any)
	if !hasProperties || !hasFields {
		return connector.Description{}, i.transport.Malformed("a class lacks its properties, or the schema the type Document")
	}
	d := connector.Description{Keys: [][]string{{"id"}}}
	for _, one := range list {
		of, _ := one.(map[string]any)
		name, _ := of["name"].(string)
		if _, ours := fields[name]; ours {
			kind, _ := of["type"].(map[string]any)
			d.Columns = append(d.Columns, fieldOf(name, kind))
		}
	}
	for _, one := range properties {
		of, _ := one.(map[string]any)
		name, isText := of["symbolicName"].(string)
		if !isText {
			return connector.Description{}, i.transport.Malformed("a property has no symbolic name")
		}
		d.Columns = append(d.Columns, propertyOf(name, of))
	}
	slices.SortFunc(d.Columns, func(a, b connector.Described) int { return cmp.Compare(a.Name, b.Name) })
	return d, nil
}

func fieldOf(name string, kind map[string]any) connector.Described {
	d := connector.Described{Name: name, Nullable: true}
	if kind["kind"] == "NON_NULL" {
		d.Nullable = false
		kind, _ = kind["ofType"].(map[string]any)
	}
	is, _ := kind["name"].(string)
	d.Type = map[string]string{"ID": "string", "String": "string", "Int": "int", "Float": "decimal", "Boolean": "bool", "DateTime": "timestamp"}[is]
	if kind["kind"] == "ENUM" {
		d.Type = "string"
	}
	return d
}

func propertyOf(name string, of map[string]any) connector.Described {
	is, _ := of["dataType"].(string)
	d := connector.Described{Name: name, Nullable: of["isValueRequired"] != true}
	d.Type = map[string]string{"STRING": "string", "LONG": "int", "DOUBLE": "decimal", "BOOLEAN": "bool", "DATE": "timestamp",
		"GUID": "string", "BINARY": "bytes", "OBJECT": "object"}[is]
	if cardinality := of["cardinality"]; cardinality != "SINGLE" {
		d.Type = "list"
	}
	if n, ok := of["maximumLengthString"].(json.Number); ok {
		length, _ := n.Int64()
		d.Length = int(length)
	}
	return d
}
