package expr

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"patchbay/internal/flow"
)

type (
	// Type is what is known of a value before it is there. The zero value is
	// "anything".
	Type struct {
		scalar flow.Type
		object map[string]Type // columns; nil unless an object
		elem   *Type           // of a list
	}

	// Var declares a variable of an Env.
	Var struct {
		Name string
		Type Type
	}
)

// Anything is the type of a value nothing is known about.
var Anything = Type{}

// Scalar is the type of one parameter or column. What is known of a document are the
// columns of its claim.
func Scalar(t flow.Type) Type {
	if t == flow.Document {
		return Type{scalar: t, object: map[string]Type{"name": {scalar: flow.String}, "type": {scalar: flow.String}, "size": {scalar: flow.Int}, "sha256": {scalar: flow.String}}}
	}
	return Type{scalar: t}
}

// Object is the type of a row with exactly these columns.
func Object(columns map[string]Type) Type { return Type{object: columns} }

// Columns is the type of a row of a table; a table without columns has an
// unknown schema, and its rows may be anything.
func Columns(columns map[string]flow.Type) Type {
	if len(columns) == 0 {
		return Anything
	}
	out := make(map[string]Type, len(columns))
	for name, t := range columns {
		out[name] = Scalar(t)
	}
	return Object(out)
}

// List is the type of a list.
func List(elem Type) Type { return Type{elem: &elem} }

// Elem is the type of the elements of a list, Anything for other types.
func (t Type) Elem() Type {
	if t.elem == nil {
		return Anything
	}
	return *t.elem
}

// Column is the type of one column; false when t is an object without it.
func (t Type) Column(name string) (Type, bool) {
	if t.object == nil {
		return Anything, true
	}
	c, ok := t.object[name]
	return c, ok
}

// String is the type in words, for messages.
func (t Type) String() string {
	switch {
	case t.scalar == flow.Document:
		return string(t.scalar)
	case t.object != nil:
		return "row"
	case t.elem != nil:
		return "list"
	case t.scalar == "":
		return string(flow.Any)
	}
	return string(t.scalar)
}

// provider teaches the checker the rows of one Env. An object type has a name no
// expression can spell, so that nothing a user writes is taken for a type.
type provider struct {
	types.Provider
	objects map[string]Type // type name → object
}

// declare gives the CEL type of t and records the objects below it.
func (p *provider) declare(path string, t Type) *cel.Type {
	switch {
	case t.object != nil:
		name := "{" + path + "}"
		p.objects[name] = t
		for column, ct := range t.object {
			p.declare(path+"."+column, ct)
		}
		return types.NewObjectType(name)
	case t.elem != nil:
		return types.NewListType(p.declare(path+"[]", *t.elem))
	}
	switch t.scalar {
	case flow.String, flow.Date, flow.Timestamp:
		return types.NewNullableType(types.StringType)
	case flow.Int:
		return types.NewNullableType(types.IntType)
	case flow.Bool:
		return types.NewNullableType(types.BoolType)
	case flow.Decimal:
		return decimalType
	}
	return types.DynType
}

// named gives back the Type of a CEL type, for example what an expression is.
func (p *provider) named(t *cel.Type) Type {
	switch t.Kind() {
	case types.StructKind:
		return p.objects[t.TypeName()]
	case types.ListKind:
		return List(p.named(t.Parameters()[0]))
	case types.StringKind, types.TimestampKind, types.DurationKind:
		return Scalar(flow.String)
	case types.IntKind:
		return Scalar(flow.Int)
	case types.BoolKind:
		return Scalar(flow.Bool)
	case types.OpaqueKind:
		switch t.TypeName() {
		case decimalType.TypeName():
			return Scalar(flow.Decimal)
		case "optional_type":
			return p.named(t.Parameters()[0])
		}
	}
	return Anything
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if t, ok := p.objects[name]; ok {
		return slices.Sorted(maps.Keys(t.object)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := p.objects[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	ct, ok := t.object[field]
	if !ok {
		return nil, false
	}
	path := strings.Trim(name, "{}")
	return &types.FieldType{
		Type: (&provider{Provider: p.Provider, objects: map[string]Type{}}).declare(path+"."+field, ct),
		IsSet: func(object any) bool {
			_, ok := fieldOf(object, field)
			return ok
		},
		GetFrom: func(object any) (any, error) {
			v, ok := fieldOf(object, field)
			if !ok {
				return nil, &missing{path: path + "." + field}
			}
			return v, nil
		},
	}, true
}

// NewValue implements types.Provider: rows are read, never built.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.objects[name]; ok {
		return types.NewErr("a row cannot be built")
	}
	return p.Provider.NewValue(name, fields)
}

func fieldOf(object any, field string) (any, bool) {
	switch row := object.(type) {
	case *Record:
		return row.field(field)
	case map[string]any:
		v, ok := row[field]
		return v, ok
	}
	return nil, false
}

// missing is the failure of a selection of a column that is not there.
type missing struct{ path string }

func (m *missing) Error() string { return "no such column: " + m.path }
