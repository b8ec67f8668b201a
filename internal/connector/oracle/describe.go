package oracle

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"patchbay/internal/connector"
)

// types are those of Oracle's descriptions.
var types = map[string]string{
	"string": "string", "integer": "int", "number": "decimal", "boolean": "bool", "date": "date", "datetime": "timestamp",
	"attachment": "bytes", "array": "list", "object": "object",
}

// Describe tells the attributes of a table's resource. Of keys Oracle names only one
// of its own, which is a number that no other system knows: it says nothing here.
func (o *Oracle) Describe(ctx context.Context, table string) (connector.Description, error) {
	t, err := o.config.Table(table)
	if err != nil {
		return connector.Description{}, err
	}
	var got map[string]any
	if _, err := o.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: o.root + t.Path + "/describe", Collection: true}, &got); err != nil {
		return connector.Description{}, err
	}
	all, _ := got["Resources"].(map[string]any)
	resource, _ := all[t.Path[strings.LastIndexByte(t.Path, '/')+1:]].(map[string]any)
	attributes, ok := resource["attributes"].([]any)
	if !ok {
		return connector.Description{}, o.transport.Malformed("a description has no attributes")
	}
	d := connector.Description{Columns: make([]connector.Described, len(attributes))}
	for i, one := range attributes {
		of, _ := one.(map[string]any)
		name, isText := of["name"].(string)
		if !isText {
			return connector.Description{}, o.transport.Malformed("an attribute has no name")
		}
		is, _ := of["type"].(string)
		d.Columns[i] = connector.Described{Name: name, Type: types[is], Nullable: of["mandatory"] != true,
			Length: whole(of["maxLength"]), Precision: whole(of["precision"]), Scale: whole(of["scale"])}
	}
	return d, nil
}

// whole is a number of a description; 0 where there is none.
func whole(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, _ := n.Int64()
	return int(i)
}
