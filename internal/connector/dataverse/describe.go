package dataverse

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// types are those of Dataverse's attributes. What is not here holds no value of its
// own: the parties of an activity, an image, the table of a lookup.
var types = map[string]string{
	"String": "string", "Memo": "string", "Uniqueidentifier": "string", "Lookup": "string", "Customer": "string", "Owner": "string", "EntityName": "string",
	"Integer": "int", "BigInt": "int", "Picklist": "int", "State": "int", "Status": "int",
	"Decimal": "decimal", "Money": "decimal", "Double": "decimal", "Boolean": "bool", "DateTime": "timestamp",
}

// references are the types whose column is called _name_value.
var references = []string{"Lookup", "Customer", "Owner"}

// Describe tells the columns of a table under their names on the Web API, and its
// primary and alternate keys; a key whose index is not active is none yet.
func (v *Dataverse) Describe(ctx context.Context, table string) (connector.Description, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return connector.Description{}, err
	}
	set, ok := connector.Literal(t.Path)
	if !ok {
		return connector.Description{}, fault.Invalidf("connector.path", "table %s has no path", t.Name)
	}
	found, err := v.metadata(ctx, "EntityDefinitions?$select=LogicalName,PrimaryIdAttribute&$filter="+connector.EscapeQuery("EntitySetName eq "+set)+
		"&$expand="+connector.EscapeQuery("Attributes($select=LogicalName,AttributeType,RequiredLevel),Keys($select=KeyAttributes,EntityKeyIndexStatus)"))
	if err != nil {
		return connector.Description{}, err
	}
	if len(found) == 0 {
		return connector.Description{}, fault.New(fault.Rejected, System+".unknown_resource", v.config.Name+" has no table whose set is called as the path of "+t.Name, nil)
	}
	logical, isText := found[0]["LogicalName"].(string)
	attributes, isList := found[0]["Attributes"].([]any)
	if !isText || !isList {
		return connector.Description{}, v.transport.Malformed("a definition lacks its name or its attributes")
	}
	var d connector.Description
	if d.Keys, err = v.keys(found[0]); err != nil {
		return connector.Description{}, err
	}
	more, err := v.more(ctx, logical)
	if err != nil {
		return connector.Description{}, err
	}
	for _, one := range attributes {
		of, _ := one.(map[string]any)
		name, isText := of["LogicalName"].(string)
		if !isText {
			return connector.Description{}, v.transport.Malformed("an attribute has no name")
		}
		kind, _ := of["AttributeType"].(string)
		if types[kind] == "" {
			continue
		}
		level, _ := of["RequiredLevel"].(map[string]any)
		c := connector.Described{Name: name, Type: types[kind], Nullable: level["Value"] == "None" || level["Value"] == "Recommended", Length: more[name].length}
		if more[name].dateOnly {
			c.Type = "date"
		}
		if slices.Contains(references, kind) {
			c.Name = known(t, name)
		}
		d.Columns = append(d.Columns, c)
	}
	return d, nil
}

// metadata reads a list of definitions.
func (v *Dataverse) metadata(ctx context.Context, target string) ([]map[string]any, error) {
	var got map[string]any
	if _, err := v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: v.root + target, Header: reading(), Collection: true}, &got); err != nil {
		return nil, err
	}
	list, err := v.listed(got["value"], nil)
	return list.rows, err
}

// keys reads the keys of a definition, the primary one first.
func (v *Dataverse) keys(definition map[string]any) ([][]string, error) {
	primary, isText := definition["PrimaryIdAttribute"].(string)
	list, isList := definition["Keys"].([]any)
	if !isText || !isList {
		return nil, v.transport.Malformed("a definition lacks its keys")
	}
	keys := [][]string{{primary}}
	for _, one := range list {
		of, _ := one.(map[string]any)
		columns, isList := of["KeyAttributes"].([]any)
		if !isList {
			return nil, v.transport.Malformed("a key has no columns")
		}
		if of["EntityKeyIndexStatus"] != "Active" {
			continue
		}
		key := make([]string, len(columns))
		for i, c := range columns {
			key[i], _ = c.(string)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// detail is what only the types of attributes say.
type detail struct {
	length   int
	dateOnly bool
}

// more reads the lengths of texts, and which dates have no time.
func (v *Dataverse) more(ctx context.Context, logical string) (map[string]detail, error) {
	return v.details(ctx, logical, [][2]string{{"String", "MaxLength"}, {"Memo", "MaxLength"}, {"DateTime", "Format"}})
}

// dates reads which dates have no time.
func (v *Dataverse) dates(ctx context.Context, logical string) (map[string]detail, error) {
	return v.details(ctx, logical, [][2]string{{"DateTime", "Format"}})
}

func (v *Dataverse) details(ctx context.Context, logical string, kinds [][2]string) (map[string]detail, error) {
	found := map[string]detail{}
	for _, of := range kinds {
		list, err := v.metadata(ctx, "EntityDefinitions(LogicalName='"+logical+"')/Attributes/Microsoft.Dynamics.CRM."+of[0]+"AttributeMetadata?$select=LogicalName,"+of[1])
		if err != nil {
			return nil, err
		}
		for _, of := range list {
			name, _ := of["LogicalName"].(string)
			d := detail{dateOnly: of["Format"] == "DateOnly"}
			if n, ok := of["MaxLength"].(json.Number); ok {
				length, _ := n.Int64()
				d.length = int(length)
			}
			found[name] = d
		}
	}
	return found, nil
}
