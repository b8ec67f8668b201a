package expr

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"patchbay/internal/flow"
)

type (
	// Shape is the columns of a source, for its Records.
	Shape struct {
		columns []string
		at      map[string]int
	}

	// Record is a row of a sheet as expressions see it, without a map: cells of JSON
	// text in the order of its Shape, each decoded when an expression looks at it. A nil
	// cell is absent. It may be given other cells when an evaluation is over.
	Record struct {
		shape *Shape
		cells [][]byte
		seen  []ref.Val // of cells that were decoded
	}

	// Scope holds the variables of evaluations, by their place in its names. It is used
	// by one goroutine at a time, over and over.
	Scope struct {
		names  []string
		values []any
	}
)

// NewShape is the shape of rows with these columns.
func NewShape(columns []string) *Shape {
	s := &Shape{columns: columns, at: make(map[string]int, len(columns))}
	for i, c := range columns {
		s.at[c] = i
	}
	return s
}

// Record makes a row of the shape.
func (s *Shape) Record(cells [][]byte) *Record { return &Record{shape: s, cells: cells} }

// Set gives the record other cells.
func (r *Record) Set(cells [][]byte) {
	r.cells = cells
	clear(r.seen)
}

// NewScope makes a Scope of variables that are all null.
func NewScope(names ...string) *Scope {
	return &Scope{names, make([]any, len(names))}
}

// Set sets the variable at place i: a JSON value, a *Record,
// or a list of them.
func (s *Scope) Set(i int, v any) {
	if records, ok := v.([]*Record); ok {
		list := make([]ref.Val, len(records))
		for i, r := range records {
			list[i] = r
		}
		v = types.NewRefValList(recordAdapter, list)
	}
	s.values[i] = v
}

// ResolveName implements cel.Activation.
func (s *Scope) ResolveName(name string) (any, bool) {
	for i, n := range s.names {
		if n == name {
			return s.values[i], true
		}
	}
	return nil, false
}

// Parent implements cel.Activation.
func (s *Scope) Parent() cel.Activation { return nil }

var recordAdapter = adapter{types.DefaultTypeAdapter}

// field gives the value of a column as CEL has it.
func (r *Record) field(name string) (ref.Val, bool) {
	i, ok := r.shape.at[name]
	if !ok || r.cells[i] == nil {
		return nil, false
	}
	if r.seen == nil {
		r.seen = make([]ref.Val, len(r.cells))
	}
	if r.seen[i] == nil {
		r.seen[i] = cellValue(r.cells[i])
	}
	return r.seen[i], true
}

// cellValue decodes JSON text that has been checked before.
func cellValue(cell []byte) ref.Val {
	switch cell[0] {
	case '"':
		if text, plain := plainText(cell); plain {
			return types.String(text)
		}
	case 'n':
		return types.NullValue
	case 't':
		return types.True
	case 'f':
		return types.False
	case '{', '[':
	default:
		return number(string(cell))
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(cell)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return types.NewErr("internal error: a cell is no JSON")
	}
	return recordAdapter.NativeToValue(v)
}

// plainText is the text of a JSON string without escapes.
func plainText(cell []byte) ([]byte, bool) {
	for _, c := range cell[1 : len(cell)-1] {
		if c == '\\' {
			return nil, false
		}
	}
	return cell[1 : len(cell)-1], true
}

// whole is the row as a map, for what wants all of it.
func (r *Record) whole() traits.Mapper {
	m := make(map[string]ref.Val, len(r.cells))
	for name := range r.shape.at {
		if v, ok := r.field(name); ok {
			m[name] = v
		}
	}
	return types.NewDynamicMap(recordAdapter, m)
}

// ConvertToNative implements ref.Val.
func (r *Record) ConvertToNative(t reflect.Type) (any, error) { return r.whole().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (r *Record) ConvertToType(t ref.Type) ref.Val { return r.whole().ConvertToType(t) }

// Equal implements ref.Val.
func (r *Record) Equal(other ref.Val) ref.Val {
	if _, ok := other.(traits.Mapper); !ok {
		return types.False
	}
	return r.whole().Equal(other)
}

// Type implements ref.Val.
func (r *Record) Type() ref.Type { return types.MapType }

// Value implements ref.Val: a typed selection asks the record itself.
func (r *Record) Value() any { return r }

// Contains implements traits.Container.
func (r *Record) Contains(key ref.Val) ref.Val {
	_, found := r.Find(key)
	return types.Bool(found)
}

// Find implements traits.Mapper.
func (r *Record) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return r.field(string(name))
}

// Get implements traits.Indexer.
func (r *Record) Get(key ref.Val) ref.Val {
	if v, ok := r.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

// Iterator implements traits.Iterable.
func (r *Record) Iterator() traits.Iterator { return r.whole().Iterator() }

// Size implements traits.Sizer.
func (r *Record) Size() ref.Val { return r.whole().Size() }

// Append evaluates the expression and adds its value to dst as JSON text. present is
// false where the result is Absent, and dst then as it was.
func (p *Program) Append(dst []byte, scope *Scope) (out []byte, present bool, err error) {
	v, _, err := p.prog.Eval(scope)
	if err != nil {
		return dst, false, p.failure(err)
	}
	return p.appendValue(dst, v)
}

func (p *Program) appendValue(dst []byte, v ref.Val) ([]byte, bool, error) {
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), true, nil
	case types.Bool:
		if v {
			return append(dst, "true"...), true, nil
		}
		return append(dst, "false"...), true, nil
	case types.String:
		return AppendText(dst, string(v)), true, nil
	}
	value, err := plain(v)
	if err != nil {
		return dst, false, rejectedType(err)
	}
	switch value := value.(type) {
	case absent:
		return dst, false, nil
	case json.Number:
		return append(dst, value...), true, nil
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // as AppendText: a value has one text
	if err := e.Encode(value); err != nil {
		return dst, false, rejectedType(err)
	}
	return append(dst, bytes.TrimRight(text.Bytes(), "\n")...), true, nil
}

// AppendText adds s to dst as a JSON string; what is no UTF-8 becomes U+FFFD.
func AppendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	dst = append(dst, '"')
	begun := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begun:i]...)
		begun = i + 1
		if c >= ' ' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[begun:]...), '"')
}

// shaped is the type of a source's rows: every column that is asked for, and no other.
func shaped(s flow.Source) Type {
	columns := make(map[string]Type, len(s.Select))
	for i, name := range s.Select {
		t := flow.Any
		if i < len(s.Types) {
			t = s.Types[i]
		}
		columns[name] = Scalar(t)
	}
	return Object(columns)
}
